"""The Python half of libmlxforge: ``run`` is what the C library calls, on a thread of its own."""

from __future__ import annotations

from mlxforge.engine.device import DeviceThread

from .door import serve
from .host import Host

__all__ = ["run"]


def run(*functions: object) -> None:
    """Serve the C library's commands until the process exits; see ``Host`` for the functions."""
    from .engines import open_api

    DeviceThread.begin()  # before ``serving``, at which the library registers its exit handler
    serve(Host(*functions), open_api)  # type: ignore[arg-type]  # C gives them no types
