"""The command line, ``mlxforge``."""

from .app import main

__all__ = ["main"]
