"""Outputs pushed to whoever asked, and the same ones read one by one."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from mlxforge.engine.errors import Cancelled, Unavailable
from mlxforge.engine.output import Finish, FinishReason, RequestOutput, Timings, Usage
from mlxforge.engine.stream import Put, Sink, iterate

END = Finish(FinishReason.STOP, Usage(), Timings())


def token(number: int, finish: Finish | None = None) -> RequestOutput:
    return RequestOutput("r", 0, token_ids=(number,), finish=finish)


async def test_a_sink_ends_with_its_last_choice() -> None:
    got: list[RequestOutput] = []
    sink = Sink(got.append)
    sink.left = 2
    sink.take(token(1, END))
    assert not sink.ended.done()
    sink.take(token(2, END))
    await sink.ended
    sink.take(token(3))
    sink.take(Cancelled("too late"))
    assert [output.token_ids for output in got] == [(1,), (2,)]


async def test_an_error_ends_a_sink_and_nothing_follows() -> None:
    got: list[RequestOutput] = []
    sink = Sink(got.append)
    sink.left = 1
    sink.take(token(1))
    sink.take(Unavailable("gone"))
    sink.take(token(2, END))
    with pytest.raises(Unavailable):
        await sink.ended
    assert len(got) == 1 and sink.left == 1


async def test_what_the_caller_raises_is_the_end() -> None:
    def put(output: RequestOutput) -> None:
        raise ZeroDivisionError

    sink = Sink(put)
    sink.left = 1
    sink.take(token(1))
    with pytest.raises(ZeroDivisionError):
        await sink.ended


async def test_an_error_that_nobody_reads_is_not_complained_of() -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    for close in (True, False):
        sink = Sink(lambda output: None)
        sink.take(Cancelled("closed"))
        if close:
            sink.close()
        del sink
        gc.collect()
        assert bool(complaints) is not close


async def test_outputs_are_read_one_by_one_then_the_error() -> None:
    async def run(put: Put) -> None:
        put(token(0))
        put(token(1))
        await asyncio.sleep(0.01)
        put(token(2))
        raise Unavailable("gone")

    read: list[int] = []
    with pytest.raises(Unavailable):
        async for output in iterate(run):
            read += output.token_ids
    assert read == [0, 1, 2]


async def test_an_iterator_that_is_closed_cancels() -> None:
    cancelled = False

    async def run(put: Put) -> None:
        nonlocal cancelled
        put(token(0))
        try:
            await asyncio.Event().wait()
        finally:
            cancelled = True

    outputs = iterate(run)
    await anext(outputs)
    assert isinstance(outputs, AsyncGenerator)
    await outputs.aclose()
    assert cancelled


async def test_a_reader_that_is_cancelled_cancels() -> None:
    cancelled = asyncio.Event()

    async def run(put: Put) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def read() -> None:
        async for _ in iterate(run):
            pass

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert cancelled.is_set()
