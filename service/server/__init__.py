"""The gRPC door."""

from .server import Server
from .sockets import BindError

__all__ = ["BindError", "Server"]
