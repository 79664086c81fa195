"""``mlxforge top`` against live servers, and its arithmetic."""

from __future__ import annotations

import asyncio
import json
import math
import os
import pty
import signal
import sys

import pytest

from mlxforge.service.cli.scrape import histogram_quantile, parse, views
from mlxforge.v1 import generation_pb2

from ..fakes import FakeEngine, Script
from ..serving import Start
from ..test_cli import mlxforge
from .conftest import Watch
from .test_metrics import Busy

INF = math.inf


def test_quantiles() -> None:
    buckets = [(1.0, 10.0), (2.0, 30.0), (4.0, 40.0), (INF, 40.0)]
    assert histogram_quantile(0.5, buckets) == 1.5
    assert histogram_quantile(0.25, buckets) == 1.0
    assert histogram_quantile(1.0, buckets) == 4.0
    assert histogram_quantile(0.5, [(1.0, 0.0), (INF, 2.0)]) == 1.0, "beyond the last bound"
    assert histogram_quantile(0.5, [(1.0, 0.0), (INF, 0.0)]) is None
    assert histogram_quantile(0.5, []) is None


def _text(generated: int, first: int, restarts: int = 0) -> str:
    labels = 'model_name="m"'
    return "\n".join(
        [
            "# TYPE mlxforge_generation_tokens counter",
            f"mlxforge_generation_tokens_total{{{labels}}} {generated}",
            "# TYPE mlxforge_worker_restarts counter",
            f"mlxforge_worker_restarts_total{{{labels}}} {restarts}",
            "# TYPE mlxforge_time_to_first_token_seconds histogram",
            f'mlxforge_time_to_first_token_seconds_bucket{{{labels},le="0.1"}} {first}',
            f'mlxforge_time_to_first_token_seconds_bucket{{{labels},le="+Inf"}} {first}',
            "",
        ]
    )


def test_what_happened_between_two_readings() -> None:
    earlier, later = parse(_text(100, 5)), parse(_text(300, 5))
    later.time = earlier.time + 2.0
    [row] = views(earlier, later, earlier)
    assert row.generation_tokens_per_second == 100
    assert row.time_to_first_token_p50 is None, "nothing began between the two"
    [row] = views(earlier, later, None)
    assert row.time_to_first_token_p50 == pytest.approx(0.05)


def test_counters_that_began_anew() -> None:
    earlier, later = parse(_text(1000, 50)), parse(_text(20, 1, restarts=1))
    later.time = earlier.time + 1.0
    [row] = views(earlier, later, earlier)
    assert row.generation_tokens_per_second == 20
    assert row.time_to_first_token_p50 is not None
    assert row.worker_restarts == 1


async def test_once_as_json(watch: Watch) -> None:
    server = await watch(FakeEngine(script=Script(word_seconds=0.01)))
    request = generation_pb2.GenerateRequest(prompt="a b", max_tokens=4)
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            await server.generation.Generate(request)

    loading = asyncio.create_task(load())
    result = await mlxforge("top", "--metrics", server.url, "--once", "--json", "-i", "0.5")
    stop.set()
    await loading
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert answer["metrics"] is True
    [model] = answer["models"]
    assert (model["model"], model["state"]) == ("fake", "ready")
    assert 5 < model["generation_tokens_per_second"] < 500
    assert model["requests_per_second"] > 1
    assert 0.001 < model["time_to_first_token_p50"] < 1
    assert 0.005 < model["inter_token_latency_p50"] < 1


async def test_for_people(watch: Watch) -> None:
    server = await watch(Busy())
    result = await mlxforge("top", "--metrics", server.url, "--once", "-i", "0.1")
    assert result.code == 0, result.err
    for shown in ("fake", "ready", "3", "5"):
        assert shown in result.out.split(), result.out
    assert "RUN" in result.out


async def test_live_in_a_narrow_terminal(watch: Watch) -> None:
    server = await watch(Busy())
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mlxforge.service.cli", "top"),
        *("--metrics", server.url, "-i", "0.1"),
        stdout=slave,
        stdin=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "60", "LINES": "40"},
    )
    os.close(slave)
    shown = b""
    try:
        async with asyncio.timeout(30):
            while shown.count(b"RESTARTS") < 3:
                shown += await asyncio.to_thread(os.read, master, 65536)
    finally:
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        os.close(master)
    assert b"ITL P99" in shown and "…".encode() not in shown


async def test_without_metrics_or_a_server(start: Start, watch: Watch) -> None:
    plain = await start()
    told, nobody, wrong = await asyncio.gather(
        mlxforge("top", "--once", "--json", "-a", plain.address),
        mlxforge("top", "--once", "-a", "127.0.0.1:9"),
        mlxforge("top", "--once", "--metrics", f"http://{plain.address}/metrics"),
    )
    assert told.code == 0, told.err
    assert json.loads(told.out) == {
        "metrics": False,
        "models": [{"model": "fake", "state": "ready"}],
    }
    assert nobody.code == 3 and "no server answers at 127.0.0.1:9" in nobody.err
    assert wrong.code == 3 and "metrics.address" in wrong.err
