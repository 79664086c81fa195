"""Keeps a slow reader from slowing the engine: merges what came while it was busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from mlxforge.engine.errors import ResourceExhausted
from mlxforge.engine.output import RequestOutput

from ..merging import entries, merged
from .method import closing


async def coalesced(
    outputs: AsyncIterator[RequestOutput], *, max_backlog: int
) -> AsyncIterator[RequestOutput]:
    """The same outputs, those of one choice merged that came between two reads.

    A reader that falls ``max_backlog`` behind gets ``ResourceExhausted``, and the request
    is aborted, instead of the memory growing. Closing the iterator aborts the request.
    """
    backlog = _Backlog(max_backlog)
    pump = asyncio.create_task(backlog.fill(outputs))
    try:
        while True:
            await backlog.ready.wait()
            for output in backlog.take():
                yield output
            if backlog.drained:
                break
        await pump
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)


class _Backlog:
    """What has come and was not read yet."""

    def __init__(self, limit: int) -> None:
        self.ready = asyncio.Event()
        self._limit = limit
        self._size = 0
        self._pending: list[RequestOutput] = []
        self._ended = False

    @property
    def drained(self) -> bool:
        """Whether no more will come."""
        return self._ended and not self._pending

    async def fill(self, outputs: AsyncIterator[RequestOutput]) -> None:
        """Read ``outputs`` to their end or error."""
        try:
            async with closing(outputs):
                async for output in outputs:
                    self._size += entries(output)
                    if self._size > self._limit:
                        raise ResourceExhausted(
                            "the reader of the stream is too far behind; read faster or ask for "
                            "fewer tokens",
                            reason="SLOW_READER",
                            retry_after=None,
                        )
                    self._pending.append(output)
                    self.ready.set()
        finally:
            self._ended = True
            self.ready.set()

    def take(self) -> Sequence[RequestOutput]:
        """What came since the last call, merged."""
        taken, self._pending, self._size = self._pending, [], 0
        if not self._ended:
            self.ready.clear()
        return merged(taken)
