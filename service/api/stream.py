"""Keeps readers from slowing the engine: merges what came while a stream could not send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

from mlxforge.engine.errors import ResourceExhausted
from mlxforge.engine.output import RequestOutput
from mlxforge.engine.stream import Run

from ..merging import entries, merged

MESSAGES_PER_SECOND = 10_000
"""Of all streams together. Sending one takes 45 to 50 µs of the one thread that also takes new
calls: this is half of its time."""
_TIMER_SECONDS = 0.001
"""What an asyncio timer cannot tell apart."""


class MessageRate:
    """Shares out what a process may send among its streams, evenly."""

    def __init__(self, per_second: float = MESSAGES_PER_SECOND) -> None:
        self._per_second = per_second
        self._streams = 0

    @property
    def pause(self) -> float:
        """Seconds between two messages of one stream; 0: no matter."""
        pause = self._streams / self._per_second
        return pause if pause > _TIMER_SECONDS else 0.0

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Counts a stream while it lasts."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1


async def coalesced(
    run: Run, *, max_backlog: int, rate: MessageRate
) -> AsyncIterator[RequestOutput]:
    """What ``run`` puts, outputs of one choice merged that came between two reads, or sooner
    after the last one than ``rate`` allows. A choice's end does not wait.

    A reader that falls ``max_backlog`` behind gets ``ResourceExhausted``, and the request
    is aborted, instead of the memory growing. Closing the iterator aborts the request.
    """
    backlog = _Backlog(max_backlog)
    request = asyncio.create_task(run(backlog.put))
    request.add_done_callback(backlog.end)
    with rate.stream():
        try:
            while True:
                await backlog.ready.wait()
                for output in backlog.take(rate.pause):
                    yield output
                if backlog.drained:
                    break
            await request
        finally:
            backlog.close()
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)


class _Backlog:
    """What has come and was not read yet."""

    def __init__(self, limit: int) -> None:
        self.ready = asyncio.Event()
        self._limit = limit
        self._size = 0
        self._pending: list[RequestOutput] = []
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def drained(self) -> bool:
        """Whether no more will come."""
        return self._ended and not self._pending

    def put(self, output: RequestOutput) -> None:
        """The next output. Raises ``ResourceExhausted``."""
        self._size += entries(output)
        if self._size > self._limit:
            raise ResourceExhausted(
                "the reader of the stream is too far behind; read faster or ask for fewer tokens",
                reason="SLOW_READER",
                retry_after=None,
            )
        self._pending.append(output)
        self._tell(at_once=output.finish is not None)

    def end(self, _: object = None) -> None:
        """No more will come."""
        self._ended = True
        self._tell(at_once=True)

    def take(self, pause: float) -> Sequence[RequestOutput]:
        """What came since the last call, merged. ``ready`` is not set again before ``pause``."""
        taken, self._pending, self._size = self._pending, [], 0
        self.close()
        if not self._ended:
            self.ready.clear()
            self._due = self._loop.time() + pause if pause else 0.0
        return merged(taken)

    def close(self) -> None:
        """Nobody waits for the pause's end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self, *, at_once: bool) -> None:
        if at_once or not self._due or self._loop.time() >= self._due:
            self.ready.set()
        elif self._timer is None:
            self._timer = self._loop.call_at(self._due, self.ready.set)
