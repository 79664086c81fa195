"""The end of a server: what runs is finished, what comes is turned away."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from mlxforge.v1 import generation_pb2, generation_pb2_grpc

from .fakes import FakeEngine, Script
from .serving import Start, details_of, status_of_rpc, until

Request = generation_pb2.GenerateRequest
SERVER = Path(__file__).with_name("fake_server.py")


async def test_running_calls_finish_and_new_ones_are_turned_away(start: Start) -> None:
    script = Script(hold_at_word=2)
    client = await start(FakeEngine(script=script))
    running = asyncio.ensure_future(client.generation.Generate(Request(prompt="a", max_tokens=4)))
    await until(lambda: client.engine.live == 1)
    drain = asyncio.create_task(client.server.drain(10.0))
    await asyncio.sleep(0.02)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generation.Generate(Request(prompt="b"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    details = details_of(status_of_rpc(caught.value))
    assert details["ErrorInfo"].reason == "DRAINING" and "RetryInfo" in details
    assert not drain.done()
    script.released.set()
    assert (await running).choices[0].text == "a a a a"
    await drain


async def test_after_the_grace_calls_end_with_unavailable(start: Start) -> None:
    client = await start(FakeEngine(script=Script(hold_at_word=1)))
    stream = client.generation.StreamGenerate(Request(prompt="a"))
    unary = asyncio.ensure_future(client.generation.Generate(Request(prompt="a")))
    await stream.read()
    started = time.monotonic()
    await client.server.drain(0.2)
    assert 0.2 <= time.monotonic() - started < 2
    assert client.engine.live == 0
    with pytest.raises(grpc.aio.AioRpcError) as streamed:
        while await stream.read():
            pass
    with pytest.raises(grpc.aio.AioRpcError) as answered:
        await unary
    for error in (streamed.value, answered.value):
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert details_of(status_of_rpc(error))["ErrorInfo"].reason == "DRAINING"


@asynccontextmanager
async def process(**script: Any) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A server in a process of its own, with a scripted engine, and its address."""
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        SERVER,
        json.dumps(script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        event = await next_event(server, "listening")
        yield server, event["addresses"][0]
    finally:
        if server.returncode is None:
            server.kill()
        await server.communicate()


async def next_event(server: asyncio.subprocess.Process, name: str) -> Any:
    """The server's next line of this name."""
    assert server.stdout is not None
    async with asyncio.timeout(30):
        while line := await server.stdout.readline():
            event = json.loads(line)
            if event["event"] == name:
                return event
    raise AssertionError(f"the server ended before it said {name}")


async def ended(server: asyncio.subprocess.Process, seconds: float) -> int:
    """Its exit code, which it must have within so many seconds."""
    async with asyncio.timeout(seconds):
        return await server.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_streams_finish(number: signal.Signals) -> None:
    async with process(word_seconds=0.02) as (server, address):
        await next_event(server, "ready")
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = generation_pb2_grpc.GenerationServiceStub(channel)
            streams = [
                stub.StreamGenerate(Request(prompt=f"a{i} b", max_tokens=40)) for i in range(8)
            ]
            texts = [(await stream.read()).delta.text for stream in streams]
            server.send_signal(number)
            for i, stream in enumerate(streams):
                while (response := await stream.read()) is not grpc.aio.EOF:
                    texts[i] += response.delta.text
                assert texts[i] == " ".join([f"a{i}", "b"] * 20)
        assert await ended(server, 5) == 0


async def test_a_second_signal_ends_at_once() -> None:
    async with process(word_seconds=0.05) as (server, address):
        await next_event(server, "ready")
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = generation_pb2_grpc.GenerationServiceStub(channel)
            stream = stub.StreamGenerate(Request(prompt="a", max_tokens=4000))
            await stream.read()
            server.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
            assert server.returncode is None
            server.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                while await stream.read():
                    pass
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await ended(server, 3) == 0


async def test_a_signal_while_loading_ends_soon() -> None:
    async with process(load_seconds=60) as (server, _):
        server.send_signal(signal.SIGTERM)
        assert await ended(server, 3) == 0


async def test_no_model_no_server() -> None:
    async with process(load_error="no such file") as (server, _):
        assert await ended(server, 5) == 4
        assert server.stderr is not None
        assert b"no such file" in await server.stderr.read()
