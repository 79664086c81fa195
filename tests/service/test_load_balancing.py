"""One client, several servers: requests go to those that serve, without a proxy between.

The service config is the one of docs/operations.md.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from mlxforge.service.server.health import POLL_SECONDS
from mlxforge.v1 import generation_pb2, generation_pb2_grpc

from .fakes import FakeEngine, Script
from .serving import Client, serving
from .test_drain import next_event, process

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
Request = generation_pb2.GenerateRequest


def service_config() -> str:
    """The JSON object of the documentation that names the policy."""
    _, _, rest = OPERATIONS.read_text(encoding="utf-8").partition(
        "<!-- service config -->\n```json\n"
    )
    written, _, _ = rest.partition("```")
    assert json.loads(written)["loadBalancingConfig"] == [{"round_robin": {}}]
    return written


@asynccontextmanager
async def balanced(addresses: list[str], *, retries: bool = True) -> AsyncIterator[Any]:
    """Stubs on one channel to all servers."""
    target = "ipv4:" + ",".join(addresses)
    config = json.loads(service_config())
    if not retries:
        del config["methodConfig"]
    options = [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
    ]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        yield generation_pb2_grpc.GenerationServiceStub(channel)


async def spread(stub: Any, servers: list[Client], count: int) -> Counter[int]:
    """How many of ``count`` requests each server got; all must be answered."""
    before = [server.engine.started for server in servers]
    for _ in range(count):
        response = await stub.Generate(Request(prompt="a b", max_tokens=2))
        assert response.choices[0].text == "a b"
    after = [server.engine.started for server in servers]
    return Counter({i: after[i] - before[i] for i in range(len(servers))})


async def both(stub: Any, servers: list[Client]) -> None:
    """Wait until both get requests."""
    async with asyncio.timeout(10):
        while min((await spread(stub, servers, 4)).values()) == 0:  # noqa: ASYNC110 - as until
            await asyncio.sleep(0.05)


async def test_requests_go_to_servers_that_serve() -> None:
    """Without retries: that a server is left out is due to its health alone."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        servers = [await enter(serving(FakeEngine())) for _ in range(2)]
        stub = await enter(balanced([s.address for s in servers], retries=False))
        await both(stub, servers)
        assert await spread(stub, servers, 20) == {0: 10, 1: 10}

        servers[0].engine.loaded = False  # its model died: it says NOT_SERVING
        await asyncio.sleep(2 * POLL_SECONDS + 0.2)
        assert await spread(stub, servers, 20) == {0: 0, 1: 20}
        servers[0].engine.loaded = True
        await both(stub, servers)


async def test_a_drain_loses_no_request() -> None:
    """One server drains and ends under load: every request is answered by one of them."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        script = Script(word_seconds=0.002)
        servers = [await enter(serving(FakeEngine(script=script))) for _ in range(2)]
        stub = await enter(balanced([s.address for s in servers]))
        await both(stub, servers)
        answered = 0
        stop = asyncio.Event()

        async def ask() -> None:
            nonlocal answered
            while not stop.is_set():
                response = await stub.Generate(Request(prompt="a b c", max_tokens=6), timeout=10)
                assert response.choices[0].text == "a b c a b c"
                answered += 1

        clients = [asyncio.create_task(ask()) for _ in range(8)]
        await asyncio.sleep(0.3)
        await servers[0].server.drain(5.0)
        await servers[0].server.stop()
        before = answered
        await asyncio.sleep(0.5)
        stop.set()
        await asyncio.gather(*clients)
        assert answered > before > 8


async def test_a_killed_server_is_replaced_by_the_other() -> None:
    """SIGKILL under load: streams that had begun end with UNAVAILABLE, all else is answered."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        servers = [await enter(process(word_seconds=0.005)) for _ in range(2)]
        for server, _ in servers:
            await next_event(server, "ready")
        stub = await enter(balanced([address for _, address in servers]))
        answered, lost = [0], [0]
        stop = asyncio.Event()

        async def ask() -> None:
            while not stop.is_set():
                call = stub.StreamGenerate(Request(prompt="a", max_tokens=10), timeout=10)
                begun = False
                try:
                    async for _ in call:
                        begun = True
                    answered[0] += 1
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE
                    assert begun, "a stream that had not begun was not tried on the other server"
                    lost[0] += 1

        clients = [asyncio.create_task(ask()) for _ in range(8)]
        await asyncio.sleep(0.5)
        servers[0][0].kill()
        await servers[0][0].wait()
        before = answered[0]
        await asyncio.sleep(0.8)
        stop.set()
        await asyncio.gather(*clients)
        assert lost[0] <= len(clients)
        assert answered[0] > before + 8
