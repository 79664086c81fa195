"""Health: NOT_SERVING until a model is ready, and again when it dies or the server drains."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mlxforge.service.server.health import POLL_SECONDS

from .fakes import FakeEngine, Script
from .serving import Client, Start

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
GENERATION = "mlxforge.v1.GenerationService"
EMBEDDING = "mlxforge.v1.EmbeddingService"


def stub_of(client: Client) -> Any:
    return health_pb2_grpc.HealthStub(client.channel)


async def statuses(client: Client) -> dict[str, int]:
    """By service, of the RPC that lists them all."""
    # types-grpcio-health-checking is of a schema without it.
    request = health_pb2.HealthListRequest()  # type: ignore[attr-defined]
    response = await stub_of(client).List(request)
    return {name: entry.status for name, entry in response.statuses.items()}


async def check(client: Client, service: str = "") -> int:
    response = await stub_of(client).Check(health_pb2.HealthCheckRequest(service=service))
    return int(response.status)


async def test_not_serving_until_loaded(start: Start) -> None:
    client = await start(FakeEngine(script=Script(load_seconds=0.1)), load=False)
    assert await check(client) == NOT_SERVING
    load = asyncio.create_task(client.registry.load("fake"))
    await asyncio.sleep(0.02)
    assert await check(client) == NOT_SERVING and await check(client, GENERATION) == NOT_SERVING
    await load
    assert await check(client) == SERVING and await check(client, GENERATION) == SERVING
    assert await check(client, EMBEDDING) == NOT_SERVING


async def test_a_service_is_up_when_a_model_can_do_it(start: Start) -> None:
    client = await start()
    client.registry.add("e", FakeEngine.embedder(model_id="e"))
    assert await check(client, EMBEDDING) == NOT_SERVING
    await client.registry.load("e")
    assert await check(client, EMBEDDING) == SERVING


async def test_each_model_has_a_name(start: Start) -> None:
    """``model/ID``: one of two fails, the other serves; the names are told to nobody."""
    client = await start()
    other = FakeEngine(model_id="other")
    client.registry.add("other", other)
    assert await check(client, "model/fake") == SERVING
    assert await check(client, "model/other") == NOT_SERVING
    await client.registry.load("other")
    assert await check(client, "model/other") == SERVING
    other.loaded = False
    assert await check(client, "model/other") == NOT_SERVING
    assert await check(client, "model/fake") == await check(client) == SERVING
    assert not any(name.startswith("model/") for name in await statuses(client))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(client, "model/nope")
    assert "other" not in (caught.value.details() or "")


async def test_unknown_services(start: Start) -> None:
    client = await start()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(client, "nope")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    call = stub_of(client).Watch(health_pb2.HealthCheckRequest(service="nope"))
    assert (await call.read()).status == UNKNOWN


async def test_list(start: Start) -> None:
    client = await start()
    listed = await statuses(client)
    assert listed[""] == SERVING and listed[EMBEDDING] == NOT_SERVING
    assert set(listed) == {"", GENERATION, EMBEDDING} | {
        "mlxforge.v1.ModelService",
        "mlxforge.v1.TokenizerService",
    }


async def test_a_dead_engine_is_noticed(start: Start) -> None:
    client = await start()
    watch = stub_of(client).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    client.engine.closed = True  # dies without a word
    async with asyncio.timeout(4 * POLL_SECONDS):
        assert (await watch.read()).status == NOT_SERVING
    client.engine.closed = False
    async with asyncio.timeout(4 * POLL_SECONDS):
        assert (await watch.read()).status == SERVING


async def test_a_watcher_that_does_not_read_holds_up_nobody(start: Start) -> None:
    client = await start()
    stuck = [stub_of(client).Watch(health_pb2.HealthCheckRequest()) for _ in range(50)]
    for _ in range(200):
        client.engine.closed = not client.engine.closed
        assert await check(client) == (NOT_SERVING if client.engine.closed else SERVING)
    for call in stuck:
        call.cancel()


async def test_drain_turns_everything_off(start: Start) -> None:
    client = await start()
    await client.server.drain(1.0)
    assert set((await statuses(client)).values()) == {NOT_SERVING}
