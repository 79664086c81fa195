"""The deadline of a call that sends many messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from mlxforge.engine.errors import DeadlineExceeded
from mlxforge.service.api.deadline import until


class Numbers:
    """Counts up, a pause before each; knows how it ended."""

    def __init__(self, count: int, pause: float) -> None:
        self.count = count
        self.pause = pause
        self.ended_by: type[BaseException] | None = None

    async def read(self) -> AsyncIterator[int]:
        try:
            for number in range(self.count):
                await asyncio.sleep(self.pause)
                yield number
        except BaseException as error:
            self.ended_by = type(error)
            raise


def soon(seconds: float) -> float:
    return time.monotonic() + seconds


@pytest.mark.parametrize("seconds", [None, 60.0])
async def test_all_that_comes_in_time(seconds: float | None) -> None:
    deadline = None if seconds is None else soon(seconds)
    assert [n async for n in until(deadline, Numbers(100, 0).read())] == list(range(100))


async def test_what_is_awaited_ends_with_the_deadline() -> None:
    numbers, read = Numbers(100, 0.03), []
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        async for number in until(soon(0.1), numbers.read()):
            read.append(number)
    assert 0.09 < time.monotonic() - started < 2
    assert 0 < len(read) < 4 and numbers.ended_by is asyncio.CancelledError
    task = asyncio.current_task()
    assert task is not None and not task.cancelling(), "the task can go on"


async def test_a_deadline_that_passes_while_nothing_is_awaited() -> None:
    """The reader is not disturbed in what it does; the next item is refused."""
    numbers = until(soon(0.05), Numbers(100, 0).read())
    assert await anext(numbers) == 0
    await asyncio.sleep(0.1)
    with pytest.raises(DeadlineExceeded):
        await anext(numbers)


async def test_a_deadline_that_has_passed() -> None:
    with pytest.raises(DeadlineExceeded):
        await anext(until(soon(-1), Numbers(1, 0.05).read()))


async def test_who_is_cancelled_is_told_so() -> None:
    """Also when the deadline passes at the same time."""

    async def read(seconds: float) -> None:
        async for _ in until(soon(seconds), Numbers(1, 60).read()):
            pass

    for seconds in (60.0, 0.05):
        reader = asyncio.create_task(read(seconds))
        await asyncio.sleep(0.01)
        if seconds < 1:
            time.sleep(0.06)  # noqa: ASYNC251  # so that both come in one turn of the loop
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader


async def test_no_timer_is_left() -> None:
    loop = asyncio.get_running_loop()
    before = len([t for t in loop._scheduled if not t.cancelled()])  # type: ignore[attr-defined]
    numbers = until(soon(60), Numbers(100, 0).read())
    await anext(numbers)
    await numbers.aclose()  # type: ignore[attr-defined]  # it is a generator
    after = len([t for t in loop._scheduled if not t.cancelled()])  # type: ignore[attr-defined]
    assert after == before
