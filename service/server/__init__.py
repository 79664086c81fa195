"""The gRPC door."""

from .server import BindError, Server

__all__ = ["BindError", "Server"]
