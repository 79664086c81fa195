"""Fault 17: ten times as many requests as there is room for.

Latencies are asserted loosely here, where other tests run beside; ``make soak`` measures them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.engine import Engine
from mlxforge.service.api import Api
from mlxforge.service.config import Settings
from mlxforge.service.registry import Registry
from mlxforge.service.server import Server

from ..service.serving import details_of, status_of_rpc
from .live import CODE, Outcome, connected, model_folder, request, stream, until

RUNNING, WAITING, TIMES = 4, 8, 10


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with model_folder() as folder:
        yield folder


def check_refusal(outcome: Outcome) -> None:
    """What one that did not fit is told: which limit, and when to come again."""
    assert outcome.code is CODE.RESOURCE_EXHAUSTED, outcome.details
    assert isinstance(outcome.error, grpc.aio.AioRpcError)
    details = details_of(status_of_rpc(outcome.error))
    assert details["ErrorInfo"].reason == "QUEUE_FULL"
    assert details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0
    assert not outcome.tokens


async def test_row_17_ten_times_too_many(folder: Path) -> None:
    config = EngineConfig(
        max_running_requests=RUNNING, max_waiting_requests=WAITING, prefix_cache=False
    )
    engine = Engine(str(folder), config)
    registry = Registry()
    registry.add("tiny", engine)
    server = Server(Api(registry), Settings(address=("127.0.0.1:0",)))
    await server.start()
    try:
        await registry.load("tiny")
        async with connected(server.addresses[0]) as client:
            alone = await stream(client, request(tokens=100))
            refused_before, generated_before = engine.stats.rejected, engine.stats.generated_tokens
            started = time.monotonic()
            outcomes = await asyncio.gather(
                *(stream(client, request(tokens=100)) for _ in range(TIMES * (RUNNING + WAITING)))
            )
            served = [outcome for outcome in outcomes if outcome.whole]
            refused = [outcome for outcome in outcomes if not outcome.whole]
            assert len(served) >= RUNNING + WAITING
            assert len(refused) > len(served)
            for outcome in refused:
                check_refusal(outcome)
                assert outcome.seconds < 10
            assert all(outcome.tokens == alone.tokens for outcome in served)
            # Counters are exact, and everything is as before.
            await until(lambda: engine.stats.running == engine.stats.waiting == 0)
            assert engine.stats.rejected - refused_before == len(refused)
            assert engine.stats.generated_tokens - generated_before == 100 * len(served)
            assert not engine._live
            assert (await stream(client, request(tokens=100))).tokens == alone.tokens
            assert time.monotonic() - started < 60
    finally:
        await server.stop()
        await registry.close()
