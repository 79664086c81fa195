"""The gate's own clock: when no call comes any more."""

from __future__ import annotations

import asyncio
import time

import pytest

from mlxforge.engine.errors import Unavailable
from mlxforge.service.server.gate import Gate


async def quiet(gate: Gate, seconds: float, most: float) -> float:
    """How long it took."""
    started = time.monotonic()
    await gate.quiet(seconds, most=most)
    return time.monotonic() - started


async def test_nobody_came() -> None:
    assert await quiet(Gate(8), 10.0, 10.0) < 1


async def test_calls_that_still_come_are_waited_for() -> None:
    gate = Gate(8)
    await gate.drain(1.0)
    ended: list[float] = []

    async def late() -> None:
        for _ in range(10):
            with pytest.raises(Unavailable), gate.admit():
                pass
            ended.append(time.monotonic())
            await asyncio.sleep(0.05)

    calls = asyncio.create_task(late())
    await asyncio.sleep(0)
    await gate.quiet(0.3, most=30.0)
    assert len(ended) == 10 and time.monotonic() - ended[-1] >= 0.3
    await calls


async def test_not_for_ever() -> None:
    gate = Gate(8)

    async def always() -> None:
        while True:
            with gate.admit():
                await asyncio.sleep(0.01)

    calls = asyncio.create_task(always())
    await asyncio.sleep(0)
    assert 0.3 <= await quiet(gate, 10.0, 0.3) < 5
    calls.cancel()
