"""Ties a worker's life to the front's."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def tie_to(parent: int) -> None:
    """End with ``parent``, whatever kills it, and not by signals meant for it.

    The end of the socket says the same, but only to a loop that turns: the kernel's signal
    reaches a process deep in native code too. macOS has no such call (not run there), and
    relies on the socket.

    Ctrl-C reaches the whole process group, a service manager's SIGTERM every process of the
    service: the front drains on them, so its workers must go on until they are told.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it died before this
        os._exit(0)
