"""Prometheus itself scrapes a live server and evaluates the dashboard's expressions."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import socket
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mlxforge.engine.stats import EngineStats, Stats
from mlxforge.v1 import generation_pb2

from ..fakes import Script
from .conftest import Watch
from .test_metrics import DASHBOARD, Busy, expressions

PROMETHEUS = shutil.which("prometheus") or ""
pytestmark = pytest.mark.skipif(not PROMETHEUS, reason="needs Debian's package prometheus")

CONFIG = DASHBOARD.with_name("prometheus.yml")


class Growing(Busy):
    """Busy, and more so with every look."""

    looks = 0

    @property
    def stats(self) -> EngineStats:
        self.looks += 1
        totals = Stats(self.looks, self.looks, self.looks, self.looks, self.looks, self.looks)
        grown = self.said.plus(totals, running=0, waiting=0)
        return dataclasses.replace(
            grown, prefix_queries=200 + 2 * self.looks, prefix_hits=80 + self.looks
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def prometheus(target: str, folder: Path) -> AsyncIterator[str]:
    """Its URL, with the deployed configuration pointed at ``target``, five scrapes a second."""
    config = CONFIG.read_text().replace("127.0.0.1:9464", target)
    config = config.replace(
        "scrape_interval: 5s", "scrape_interval: 200ms\n  scrape_timeout: 200ms"
    )
    path = folder / "prometheus.yml"
    path.write_text(config)
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        PROMETHEUS,
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        await process.wait()


def _query(url: str, expr: str) -> list[Any]:
    query = urllib.parse.urlencode({"query": expr})
    with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=10) as answer:  # noqa: S310 - our own server
        body = json.load(answer)
    assert body["status"] == "success", body
    result: list[Any] = body["data"]["result"]
    return result


async def _answers(url: str, expr: str) -> list[Any]:
    try:
        return await asyncio.to_thread(_query, url, expr)
    except OSError:
        return []


async def test_every_panel_has_something_to_show(watch: Watch, tmp_path: Path) -> None:
    server = await watch(Growing(script=Script(word_seconds=0.001)))
    async with prometheus(server.telemetry.metrics_address, tmp_path) as url:
        async with asyncio.timeout(30):
            while not await _answers(url, 'up{job="mlxforge"} == 1'):  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.1)
        empty = expressions()
        async with asyncio.timeout(40):
            while empty:
                request = generation_pb2.GenerateRequest(prompt="a b", max_tokens=4)
                await server.generation.Generate(request)
                empty = [expr for expr in empty if not await _answers(url, expr)]
        rate = "rate(mlxforge_request_generation_tokens_sum[1m])"
        [series] = await _answers(url, rate)
        assert series["metric"]["model_name"] == "fake"
        assert float(series["value"][1]) > 0
        assert not await _answers(url, "rate(mlxforge_no_such_thing_total[1m])")
        assert not await _answers(url, "rate(mlxforge_num_requests_running[1m)")
