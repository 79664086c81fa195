"""The life of a worker's process."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import socket
import sys
from collections.abc import Sequence

from . import messages
from .host import Host, MakeEngine
from .lifeline import tie_to
from .link import Link

_NICE = 10
"""Where every core computes, the front goes first: it needs little, and callers wait for it.
At ten times the load that two cores could serve, refusals took 0.84 s (p99) without it and
0.05 to 0.4 s with it."""


def main(argv: Sequence[str], make_engine: MakeEngine) -> None:
    """Serve the front at the other end of a socket, then end the process.

    ``argv``: the program, the socket's descriptor, the front's process id, and more that is
    of no account here.
    """
    end = socket.socket(fileno=int(argv[1]))
    end.set_inheritable(False)
    tie_to(int(argv[2]))
    os.nice(_NICE)
    # Of the thread at fault alone: the others run on while theirs are read, and a crash in that
    # (3,421 of 57,143 times beside a thread that calls functions) hides the first one's cause.
    faulthandler.enable(all_threads=False)
    asyncio.run(_serve(end, make_engine))


async def _serve(end: socket.socket, make_engine: MakeEngine) -> None:
    host = Host(make_engine)
    link: Link[messages.ToWorker] = await Link.open(
        end, messages.to_worker, host.received, host.lost, host.refused
    )
    await host.serve(link)
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: the interpreter's own end would wait for threads that are deep in native code.
    os._exit(1 if host.orphaned else 0)
