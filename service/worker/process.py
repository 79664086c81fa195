"""The worker's process as the front sees it: started, heard on stderr, ended."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence

_log = logging.getLogger("mlxforge.worker")

COMMAND = (sys.executable, "-P", "-m", "mlxforge.service.worker")
"""Hosts an engine; the socket's descriptor, the front's id and the model's follow."""
_TAIL_LINES = 40
_LINE_BYTES = 4096
_LAST_WORDS_SECONDS = 0.5
_POLL_SECONDS = 0.01
_PF_EXITING = 0x4  # linux/sched.h
_FLAGS = 6  # of /proc/PID/stat, after the name: proc(5)'s field 9


class WorkerProcess:
    """A child with one end of a socket pair. What it prints is logged, its last lines kept.

    It must be started on the thread that lives as long as the service: Linux kills the child
    when the thread that started it ends (see ``lifeline``).
    """

    def __init__(self, command: Sequence[str], end: socket.socket, name: str) -> None:
        """Start ``command`` with the socket. Raises ``OSError``."""
        self._name = name
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        # Not asyncio's: before Python 3.12 that one loses the exit code of a process that is
        # killed when it is dead already.
        self._process = subprocess.Popen(
            [*command, str(end.fileno()), str(os.getpid()), name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # ours may be read by a program
            stderr=subprocess.STDOUT,
            pass_fds=(end.fileno(),),
            env=environment(),
        )
        self._reader = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exiting(self) -> bool:
        """Whether it is dead or dying.

        Linux shows that at once, and closes the sockets of a process only when it has taken
        back its memory, which takes some 0.2 s a gigabyte. Elsewhere (not run there) it shows
        when the process has ended.
        """
        if self._process.returncode is not None:
            return True
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            return self._process.poll() is not None
        return bool(int(fields[_FLAGS]) & _PF_EXITING)

    async def wait(self) -> str:
        """How it ended, in words, with the last lines it printed."""
        code = self._process.poll()
        while code is None:
            await asyncio.sleep(_POLL_SECONDS)
            code = self._process.poll()
        # A child of its own may hold the pipe open for longer.
        await asyncio.wait({self._reader}, timeout=_LAST_WORDS_SECONDS)
        return "\n  ".join([describe_exit(code), *self._tail])

    async def end(self, seconds: float) -> None:
        """Wait so long for its end, then kill it. Not with SIGTERM: it ignores that."""
        limit = time.monotonic() + seconds
        try:
            # Nothing can be waited for: a process that ended only shows when it is asked.
            while self._process.poll() is None and time.monotonic() < limit:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            self.kill()
        await self.wait()
        self._reader.cancel()

    def kill(self) -> None:
        """Kill it, if it lives, stopped or not."""
        self._process.kill()

    async def _read(self) -> None:
        pipe = self._process.stdout
        if pipe is None:
            return
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), pipe
        )
        rest = b""
        try:
            while data := await stream.read(_LINE_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                rest = rest[-_LINE_BYTES:]
                for line in lines:
                    self._say(line)
            self._say(rest)
        finally:
            transport.close()

    def _say(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            self._tail.append(text)
            _log.info("[%s] %s", self._name, text)


def environment() -> dict[str, str]:
    """This process's environment, and where it found its modules."""
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
