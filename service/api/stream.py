"""Keeps a slow reader from slowing the engine: merges what came while it was busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from mlxforge.engine.errors import ResourceExhausted
from mlxforge.engine.output import RequestOutput, ToolCallDelta

from .method import closing

CHARS_PER_ENTRY = 16


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
                    self._size += _size(output)
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


def _size(output: RequestOutput) -> int:
    """Its tokens and logprob entries; text that is long for its tokens counts as more."""
    entries = len(output.token_ids) + sum(len(position.top) for position in output.logprobs)
    return max(entries, len(output.text) // CHARS_PER_ENTRY)


def merged(outputs: Sequence[RequestOutput]) -> Sequence[RequestOutput]:
    """One output for each choice among ``outputs``, in the order of their first ones."""
    if len(outputs) < 2:
        return outputs
    by_index: dict[int, list[RequestOutput]] = {}
    for output in outputs:
        by_index.setdefault(output.index, []).append(output)
    return [_joined(parts) if len(parts) > 1 else parts[0] for parts in by_index.values()]


def _joined(parts: Sequence[RequestOutput]) -> RequestOutput:
    return RequestOutput(
        request_id=parts[0].request_id,
        index=parts[0].index,
        text="".join(p.text for p in parts),
        reasoning="".join(p.reasoning for p in parts),
        token_ids=tuple(i for p in parts for i in p.token_ids),
        logprobs=tuple(entry for p in parts for entry in p.logprobs),
        tool_calls=tuple(_joined_calls([call for p in parts for call in p.tool_calls])),
        finish=parts[-1].finish,
    )


def _joined_calls(deltas: Sequence[ToolCallDelta]) -> list[ToolCallDelta]:
    """Consecutive pieces of one call become one piece."""
    joined: list[ToolCallDelta] = []
    for delta in deltas:
        if joined and joined[-1].index == delta.index:
            last = joined[-1]
            joined[-1] = ToolCallDelta(
                last.index,
                last.id + delta.id,
                last.name + delta.name,
                last.arguments + delta.arguments,
            )
        else:
            joined.append(delta)
    return joined
