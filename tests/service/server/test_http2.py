"""Faults 14 and 16: abuse below gRPC, and clients that die or fall silent.

``MLXFORGE_SOAK=1`` runs the floods at their full size.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from mlxforge.v1 import generation_pb2, generation_pb2_grpc

from ..fakes import FakeEngine, Script
from ..serving import Start, until
from .raw_http2 import Connection

SERVER = Path(__file__).parent.parent / "fake_server.py"
SOAK = bool(os.environ.get("MLXFORGE_SOAK"))
GENERATE = "mlxforge.v1.GenerationService/StreamGenerate"
Request = generation_pb2.GenerateRequest
MB = 2**20
ENHANCE_YOUR_CALM = 11


@asynccontextmanager
async def server(*settings: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    """A server in a process of its own: its address, and its size."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        SERVER,
        json.dumps({"word_seconds": 0.01}),
        *settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while True:
                event = json.loads(await process.stdout.readline())
                if event["event"] == "ready":
                    break
        yield event["addresses"][0], psutil.Process(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def answers(address: str, seconds: float = 20.0) -> str:
    """What a well-behaved client gets."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        response = await stub.Generate(Request(prompt="a b", max_tokens=2), timeout=seconds)
        return str(response.choices[0].text)


def message(request: Request, length: int | None = None) -> bytes:
    """A gRPC message with its prefix, which may lie."""
    data = request.SerializeToString()
    return struct.pack(">BI", 0, len(data) if length is None else length) + data


def rapid_reset(address: str, streams: int) -> int:
    """Begins calls and takes each back at once; connects again when thrown out. How often."""
    thrown_out = 0
    data = message(Request(prompt="one two three", max_tokens=4000))
    left = streams
    while left:
        with Connection(address) as connection, contextlib.suppress(ConnectionError):
            for _ in range(left):
                left -= 1
                headers = connection.call(GENERATE)
                stream = connection.stream_id
                body = DataFrame(stream, data, flags=["END_STREAM"])
                connection.send(headers, body, RstStreamFrame(stream, error_code=8))
            connection.settle()
            continue
        thrown_out += 1
    return thrown_out


async def test_rapid_reset() -> None:
    """CVE-2023-44487."""
    async with server() as (address, process):
        await asyncio.to_thread(rapid_reset, address, 500)
        assert await answers(address) == "a b"
        before, began = process.memory_info().rss, time.monotonic()
        streams = 200_000 if SOAK else 10_000
        thrown_out = await asyncio.to_thread(rapid_reset, address, streams)
        flood = time.monotonic() - began
        assert await answers(address) == "a b"
        grown = process.memory_info().rss - before
        print(
            f"{streams} resets in {flood:.1f} s, thrown out {thrown_out} times, answered "
            f"{time.monotonic() - began - flood:.2f} s later; {grown / MB:.1f} MB more"
        )
        assert grown < 64 * MB


def pings(connection: Connection, count: int) -> None:
    for i in range(count):
        connection.send(PingFrame(0, struct.pack(">Q", i)))


def settings_frames(connection: Connection, count: int) -> None:
    for i in range(count):
        connection.send(SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 65535 + i % 2}))


def continuations(connection: Connection, count: int) -> None:
    headers = connection.call(GENERATE)
    headers.flags.discard("END_HEADERS")
    connection.send(headers)
    # A literal header without indexing, over and over.
    field = b"\x00\x01a\x7f" + bytes([0]) + b"b" * 127
    for _ in range(5 * count):  # 200 MB for 5,000
        connection.send(ContinuationFrame(headers.stream_id, field * 60))


def empty_data(connection: Connection, count: int) -> None:
    connection.send(connection.call(GENERATE))
    for _ in range(count):
        connection.send(DataFrame(connection.stream_id, b""))


FLOODS: list[Callable[[Connection, int], None]] = [
    pings,
    settings_frames,
    continuations,
    empty_data,
]


async def test_floods_of_frames() -> None:
    """Each either ends its connection or costs nothing; others are served meanwhile."""
    async with server() as (address, process):
        assert await answers(address) == "a b"
        before = process.memory_info().rss
        for flood in FLOODS:
            with Connection(address) as connection:
                with contextlib.suppress(ConnectionError, TimeoutError):
                    count = 100_000 if SOAK else 5_000
                    await asyncio.to_thread(flood, connection, count)
                    await asyncio.to_thread(connection.settle)
                assert await answers(address) == "a b", flood.__name__
        grown = process.memory_info().rss - before
        print(f"{grown / MB:.1f} MB more")
        assert grown < 176 * MB  # some 140 whatever the length of the header block


async def test_too_many_pings_end_the_connection() -> None:
    async with server() as (address, _):
        with Connection(address) as connection:
            # In one piece: it is closed after the third.
            connection.send(*(PingFrame(0, struct.pack(">Q", i)) for i in range(10)))
            code = await asyncio.to_thread(connection.ended_by)
        assert code == ENHANCE_YOUR_CALM


async def test_streams_beyond_the_limit_are_refused() -> None:
    async with server("max_concurrent_streams=4") as (address, _):
        with Connection(address) as connection:
            first = await asyncio.to_thread(connection.receive)
            assert isinstance(first, SettingsFrame)
            assert first.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 4
            for _ in range(50):  # of which this client takes no notice
                connection.send(connection.call(GENERATE))
            refused = 0
            while refused < 46:
                frame = await asyncio.to_thread(connection.receive)
                assert frame is not None
                refused += isinstance(frame, RstStreamFrame)
        assert await answers(address) == "a b"


async def test_a_message_of_which_only_the_length_is_large() -> None:
    async with server("max_message_bytes=100000") as (address, process):
        assert await answers(address) == "a b"
        before = process.memory_info().rss
        with Connection(address) as connection:
            for length in (100_001, 2**31, 2**32 - 1):
                connection.send(connection.call(GENERATE))
                body = message(Request(prompt="a"), length=length)
                connection.send(DataFrame(connection.stream_id, body))
            for _ in range(3):
                while not isinstance(
                    frame := await asyncio.to_thread(connection.receive), HeadersFrame
                ):
                    assert frame is not None
        assert process.memory_info().rss - before < 8 * MB


async def test_connections_are_limited_and_silent_ones_end() -> None:
    async with server("max_connections=3", "handshake_seconds=1") as (address, _):
        host, _, port = address.rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answers(address, 0.5)
        assert caught.value.code() in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
        async with asyncio.timeout(5):
            for reader, writer in silent:  # which never said HTTP/2
                with contextlib.suppress(ConnectionError):
                    await reader.read()
                writer.close()
        await until_answered(address)


async def until_answered(address: str) -> None:
    """A connection counts for a moment after it has ended."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                assert await answers(address, 1.0) == "a b"
                return
            await asyncio.sleep(0.1)


CLIENT = """
import sys, grpc
from mlxforge.v1 import generation_pb2, generation_pb2_grpc
stub = generation_pb2_grpc.GenerationServiceStub(grpc.insecure_channel(sys.argv[1]))
for response in stub.StreamGenerate(
    generation_pb2.GenerateRequest(prompt="a b c", max_tokens=4000)
):
    print(response.index, flush=True)
"""


@pytest.mark.parametrize(
    ("number", "seconds"), [(signal.SIGKILL, 2.0), (signal.SIGSTOP, 6.0)], ids=["dead", "silent"]
)
async def test_a_client_that_goes_frees_its_request(
    number: signal.Signals, seconds: float, start: Start
) -> None:
    """Half-open: the kernel of a stopped client still takes in what comes."""
    server = await start(
        FakeEngine(script=Script(word_seconds=0.01)),
        keepalive_seconds=1.0,
        keepalive_timeout_seconds=1.0,
    )
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, server.address, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert client.stdout is not None
        async with asyncio.timeout(60):
            await client.stdout.readline()
        assert server.engine.live == 1
        client.send_signal(number)
        await until(lambda: server.engine.live == 0, seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            client.kill()
        await client.wait()
