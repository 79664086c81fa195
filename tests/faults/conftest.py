"""Fixtures of the fault tests."""

from __future__ import annotations

from ..service.conftest import start

__all__ = ["start"]
