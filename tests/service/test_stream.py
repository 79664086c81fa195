"""Merging for readers that are behind, and the end of those that are too far behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from mlxforge.engine.errors import ResourceExhausted, Unavailable
from mlxforge.engine.output import (
    Finish,
    FinishReason,
    RequestOutput,
    Timings,
    TokenLogprobs,
    ToolCallDelta,
    Usage,
)
from mlxforge.engine.stream import Put
from mlxforge.service.api.stream import MessageRate, coalesced
from mlxforge.service.merging import merged

FREE = MessageRate()
END = Finish(FinishReason.STOP, Usage(), Timings())


class Source:
    """Outputs that come at once; knows whether it was closed."""

    def __init__(self, outputs: list[RequestOutput], error: Exception | None = None) -> None:
        self._outputs = outputs
        self._error = error
        self.pause_at: int | None = None
        self.closed = False

    async def run(self, put: Put) -> None:
        try:
            for number, output in enumerate(self._outputs):
                await asyncio.sleep(0.75 if number == self.pause_at else 0)
                put(output)
            if self._error is not None:
                raise self._error
            await asyncio.sleep(0)
        finally:
            self.closed = True


def tokens(count: int, index: int = 0) -> list[RequestOutput]:
    return [RequestOutput("r", index, text=f"{i} ", token_ids=(i,)) for i in range(count)]


async def test_a_quick_reader_gets_every_piece() -> None:
    source = Source(tokens(10))
    read = [output async for output in coalesced(source.run, max_backlog=100, rate=FREE)]
    assert read == tokens(10) and source.closed


async def test_a_slow_reader_gets_the_same_in_fewer_pieces() -> None:
    source = Source(tokens(100))
    read: list[RequestOutput] = []
    async for output in coalesced(source.run, max_backlog=1000, rate=FREE):
        read.append(output)
        for _ in range(20):
            await asyncio.sleep(0)
    assert len(read) < 20
    assert [i for output in read for i in output.token_ids] == list(range(100))
    assert "".join(output.text for output in read) == "".join(o.text for o in tokens(100))


async def test_a_stream_has_its_share_of_the_messages() -> None:
    """The first comes at once, the others in their time, merged."""
    rate = MessageRate(per_second=2)
    loop = asyncio.get_running_loop()
    times: list[float] = []
    read: list[RequestOutput] = []
    started = loop.time()
    source = Source(tokens(100))
    source.pause_at = 60
    async for output in coalesced(source.run, max_backlog=1000, rate=rate):
        read.append(output)
        times.append(loop.time() - started)
    assert [len(output.token_ids) for output in read] == [1, 59, 40]
    assert times[1] >= 0.49
    assert [i for output in read for i in output.token_ids] == list(range(100))


async def test_an_end_does_not_wait() -> None:
    source = Source([*tokens(10), RequestOutput("r", 0, finish=END)])
    async with asyncio.timeout(5):
        rate = MessageRate(per_second=0.01)
        outputs = coalesced(source.run, max_backlog=100, rate=rate)
        read = [output async for output in outputs]
    assert [len(output.token_ids) for output in read] == [1, 9]
    assert read[-1].finish == END


async def test_messages_are_shared_out_evenly_while_streams_last() -> None:
    rate = MessageRate(per_second=1000)
    with rate.stream():
        assert rate.pause == 0, "no timer is so exact"
        with contextlib.ExitStack() as streams:
            for _ in range(19):
                streams.enter_context(rate.stream())
            assert rate.pause == 0.02
        assert rate.pause == 0
    with pytest.raises(Unavailable):
        async for _ in coalesced(Source([], Unavailable("gone")).run, max_backlog=10, rate=rate):
            pass
    with rate.stream(), rate.stream(), rate.stream():
        assert rate.pause == 0.003, "streams that ended count no more"


async def test_too_far_behind_ends_the_request() -> None:
    source = Source(tokens(1000))
    outputs = coalesced(source.run, max_backlog=50, rate=FREE)
    first = await anext(outputs)
    await asyncio.sleep(0.05)
    assert source.closed, "the request is freed although nobody reads"
    held = [first.token_ids]
    with pytest.raises(ResourceExhausted) as caught:
        async for output in outputs:
            held.append(output.token_ids)
    assert caught.value.reason == "SLOW_READER"
    assert sum(map(len, held)) <= 52


async def test_logprobs_count_towards_the_backlog() -> None:
    entry = TokenLogprobs(1, -1.0, ((1, -1.0),) * 20)
    source = Source([RequestOutput("r", 0, token_ids=(1,), logprobs=(entry,))] * 10)
    outputs = coalesced(source.run, max_backlog=100, rate=FREE)
    with pytest.raises(ResourceExhausted):
        async for _ in outputs:
            await asyncio.sleep(0.05)


async def test_an_error_comes_after_what_came_before_it() -> None:
    source = Source(tokens(5), Unavailable("gone"))
    read: list[int] = []
    with pytest.raises(Unavailable):
        async for output in coalesced(source.run, max_backlog=100, rate=FREE):
            read.extend(output.token_ids)
    assert read == [0, 1, 2, 3, 4]


async def test_closing_closes_the_source() -> None:
    source = Source(tokens(1000))
    outputs = coalesced(source.run, max_backlog=10_000, rate=FREE)
    await anext(outputs)
    assert isinstance(outputs, AsyncGenerator)
    await outputs.aclose()
    assert source.closed


async def test_cancelling_the_reader_closes_the_source() -> None:
    source = Source([*tokens(3), *tokens(1000)])
    endless = asyncio.Event()

    async def read() -> None:
        async for _ in coalesced(source.run, max_backlog=10_000, rate=FREE):
            await endless.wait()

    task = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(5):  # the generator is finalised by the loop
        await asyncio.sleep(0)
    assert source.closed


def test_choices_are_merged_one_by_one() -> None:
    a0, a1 = tokens(2, index=0)
    b0, b1 = tokens(2, index=1)
    last = RequestOutput("r", 1, finish=END)
    first, second = merged([a0, b0, a1, b1, last])
    assert (first.index, first.text, first.token_ids, first.finish) == (0, "0 1 ", (0, 1), None)
    assert (second.index, second.text, second.finish) == (1, "0 1 ", END)


def test_pieces_of_tool_calls_are_merged_in_order() -> None:
    def piece(*calls: ToolCallDelta) -> RequestOutput:
        return RequestOutput("r", 0, tool_calls=calls)

    [output] = merged(
        [
            piece(ToolCallDelta(0, "call_a", "f", "{")),
            piece(ToolCallDelta(0, arguments="}"), ToolCallDelta(1, "call_b", "g", "[")),
            piece(ToolCallDelta(1, arguments="]")),
        ]
    )
    assert output.tool_calls == (
        ToolCallDelta(0, "call_a", "f", "{}"),
        ToolCallDelta(1, "call_b", "g", "[]"),
    )
