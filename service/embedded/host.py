"""What the C library gives its Python half: a pipe to wait on, and a few functions.

The two share two queues in C memory. ``poll`` takes the next command of the host program's
threads; ``message`` and ``finish`` put answers where those threads wait. None of the functions
blocks or raises (but ``MemoryError``), and no host thread ever runs Python.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Kind(enum.IntEnum):
    """Commands; the values are those of ``command_kind`` in capi/src/internal.h."""

    OPEN = 1
    CLOSE = 2
    START = 3
    SEND = 4
    CANCEL = 5
    RESUME = 6
    LOG = 7
    STOP = 8


class Command(NamedTuple):
    """One command of the host. Each kind uses its part of the fields."""

    kind: int
    call: int
    engine: int
    request_codec: int
    response_codec: int
    number: int
    """START: milliseconds until the deadline, -1 for none. LOG: the level."""
    method: bytes | None
    payload: bytes | None
    """OPEN: the configuration. START, SEND: a request; None: there is none (any more)."""


class Room(enum.IntEnum):
    """What ``message`` answers; the values of ``room`` in capi/src/internal.h."""

    GONE = -1
    """The host wants no more: the call is freed or cancelled."""
    FULL = 0
    """The message was taken; wait for RESUME before the next."""
    LEFT = 1


@dataclass(frozen=True, slots=True)
class Host:
    """The C library. Calls are named by their ids."""

    owns_python: bool
    """Whether this interpreter was started by the library, and not by the host program."""
    fd: int
    """Readable when there are commands."""
    poll: Callable[[], tuple[int, int, int, int, int, int, bytes | None, bytes | None] | None]
    """The next command, as ``Command``'s fields; None: no more for now."""
    message: Callable[[int, bytes], int]
    """Give a call a response. Answers a ``Room``."""
    finish: Callable[[int, int, str, bytes], None]
    """End a call: status code (0: well), message, serialized ``google.rpc.Status``."""
    taken: Callable[[int, int], None]
    """A method has taken a request of so many bytes from its host's stream."""
    log: Callable[[int, str, str], None]
    """One line of the log: level, logger, text."""
    serving: Callable[[], None]
    """From now on commands are polled."""
