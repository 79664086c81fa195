"""A server on free ports with all that watches it, as ``server.run`` puts it together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from prometheus_client.parser import text_string_to_metric_families

from mlxforge.service.api import Api
from mlxforge.service.config import Settings
from mlxforge.service.registry import Registry
from mlxforge.service.server import Server
from mlxforge.service.telemetry.settings import MetricsSettings
from mlxforge.service.telemetry.telemetry import Telemetry

from ..fakes import FakeEngine
from ..serving import Client

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Watched(Client):
    """A client of a watched server."""

    telemetry: Telemetry

    @property
    def url(self) -> str:
        return f"http://{self.telemetry.metrics_address}/metrics"

    async def scrape(self) -> str:
        """What Prometheus would read, over HTTP."""
        reader, writer = await asyncio.open_connection(
            *self.telemetry.metrics_address.rsplit(":", 1)
        )
        writer.write(b"GET /metrics HTTP/1.0\r\nHost: test\r\n\r\n")
        answer = (await reader.read()).decode()
        writer.close()
        head, _, body = answer.partition("\r\n\r\n")
        assert " 200 " in head.splitlines()[0], head
        return body

    async def samples(self) -> Samples:
        """By name and labels."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(await self.scrape())
            for sample in family.samples
        }

    async def value(self, name: str, **labels: str) -> float:
        """Of one series; fails without it."""
        return (await self.samples())[name, frozenset(labels.items())]


@asynccontextmanager
async def watched(engine: FakeEngine, **fields: Any) -> AsyncIterator[Watched]:
    """A server with one engine and metrics, and a client of it."""
    registry = Registry()
    registry.add("fake", engine)
    fields.setdefault("address", ("127.0.0.1:0",))
    fields.setdefault("metrics", MetricsSettings(address="127.0.0.1:0"))
    settings = Settings(**fields)
    telemetry = Telemetry(settings, registry)
    server = Server(Api(registry, settings.limits, telemetry), settings)
    await server.start()
    telemetry.start()
    try:
        await registry.load("fake")
        [address] = server.addresses
        async with grpc.aio.insecure_channel(address) as channel:
            yield Watched(server, registry, engine, address, channel, telemetry)
    finally:
        await server.stop()
        await registry.close()
        await asyncio.to_thread(telemetry.close)
