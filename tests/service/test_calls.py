"""Calls over real sockets: every way one can end, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest

from mlxforge.engine.errors import DeadlineExceeded
from mlxforge.engine.limits import Limits
from mlxforge.service.api import Api, CallContext
from mlxforge.service.api.model import ModelService
from mlxforge.service.registry import Registry
from mlxforge.v1 import embedding_pb2, generation_pb2, model_pb2, tokenizer_pb2

from .fakes import FakeEngine, Script
from .raw_calls import unary_unary
from .serving import Client, Start, details_of, status_of_rpc, until

Request = generation_pb2.GenerateRequest
LONG = Request(prompt="one two three", max_tokens=4000)
SLOW = Script(word_seconds=0.01)


async def refused(call: AsyncIterable[Any] | Awaitable[Any]) -> grpc.aio.AioRpcError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        if isinstance(call, AsyncIterable):
            async for _ in call:
                pass
        else:
            await call
    return caught.value


async def test_cancelling_a_stream_frees_the_request(start: Start) -> None:
    client = await start(FakeEngine(script=SLOW))
    call = client.generation.StreamGenerate(LONG)
    assert (await call.read()).delta.text
    assert client.engine.live == 1
    call.cancel()
    await until(lambda: client.engine.live == 0, 1.0)


async def test_cancelling_a_unary_call_frees_the_request(start: Start) -> None:
    client = await start(FakeEngine(script=SLOW))
    call = client.generation.Generate(LONG)
    task = asyncio.ensure_future(call)
    await until(lambda: client.engine.live == 1)
    task.cancel()
    await until(lambda: client.engine.live == 0, 1.0)


@pytest.mark.parametrize("word_seconds", [0.01, 30.0], ids=["decoding", "waiting"])
async def test_a_deadline_frees_the_request(word_seconds: float, start: Start) -> None:
    client = await start(FakeEngine(script=Script(word_seconds=word_seconds)))
    for method in (client.generation.StreamGenerate, client.generation.Generate):
        error = await refused(method(LONG, timeout=0.2))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: client.engine.live == 0, 1.0)


async def test_a_deadline_ends_an_embedding(start: Start) -> None:
    engine = FakeEngine.embedder(Script(embed_seconds=30))
    client = await start(engine)
    request = embedding_pb2.EmbedRequest(inputs=[{"text": "a"}])
    error = await refused(client.embedding.Embed(request, timeout=0.2))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: engine.live == 0, 1.0)


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
async def test_the_api_keeps_a_deadline_without_a_transport(method: str) -> None:
    registry = Registry()
    engine = FakeEngine(script=Script(word_seconds=30))
    registry.add("fake", engine)
    await registry.load("fake")
    handler = Api(registry).methods[f"mlxforge.v1.GenerationService/{method}"].handler

    async def one() -> AsyncIterator[generation_pb2.GenerateRequest]:
        yield LONG

    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        async for _ in handler(one(), CallContext.with_timeout(0.1)):
            pass
    assert time.monotonic() - started < 5
    assert engine.live == 0


async def test_a_closed_connection_frees_its_requests(start: Start) -> None:
    client = await start(FakeEngine(script=SLOW))
    async with grpc.aio.insecure_channel(client.address) as channel:
        other = Client(client.server, client.registry, client.engine, client.address, channel)
        calls = [other.generation.StreamGenerate(LONG) for _ in range(5)]
        await asyncio.gather(*(call.read() for call in calls))
        assert client.engine.live == 5
    await until(lambda: client.engine.live == 0, 1.0)


async def test_a_killed_client_frees_its_requests(start: Start) -> None:
    client = await start(FakeEngine(script=SLOW))
    code = (
        "import grpc\n"
        "from mlxforge.v1 import generation_pb2, generation_pb2_grpc\n"
        f"channel = grpc.insecure_channel({client.address!r})\n"
        "stub = generation_pb2_grpc.GenerationServiceStub(channel)\n"
        "request = generation_pb2.GenerateRequest(prompt='a', max_tokens=4000)\n"
        "for response in stub.StreamGenerate(request): print(response.delta.text, flush=True)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    assert client.engine.live == 1
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await until(lambda: client.engine.live == 0, 1.0)


async def test_a_reader_that_stops_is_ended_and_others_are_not(start: Start) -> None:
    limits = Limits(max_stream_backlog=2000)
    client = await start(FakeEngine(), limits=limits)
    words = Request(prompt=" ".join(["w" * 4000] * 20), max_tokens=20_000)
    async with grpc.aio.insecure_channel(client.address) as channel:
        other = Client(client.server, client.registry, client.engine, client.address, channel)
        stuck = other.generation.StreamGenerate(words)
        await stuck.read()
        neighbour = Request(prompt="a b", max_tokens=50)
        await asyncio.gather(*(client.generation.Generate(neighbour) for _ in range(3)))
        await until(lambda: client.engine.live == 0, 20.0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while await stuck.read():
                pass
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        details = details_of(status_of_rpc(caught.value))
        assert details["ErrorInfo"].reason == "SLOW_READER"
        assert "RetryInfo" not in details


async def test_a_message_beyond_the_limit_is_refused(start: Start) -> None:
    client = await start()
    error = await refused(client.generation.Generate(Request(prompt="x" * 10 * 2**20)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.engine.started == 0


async def test_the_message_limit_is_a_setting(start: Start) -> None:
    client = await start(max_message_bytes=1000)
    assert await client.generation.Generate(Request(prompt="x" * 900))
    error = await refused(client.generation.Generate(Request(prompt="x" * 1001)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x1a" * 1000])
async def test_bytes_that_are_no_request(data: bytes, start: Start) -> None:
    client = await start()
    call = unary_unary(client.channel, "/mlxforge.v1.GenerationService/Generate")
    error = await refused(call(data))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    [violation] = details_of(status_of_rpc(error))["BadRequest"].field_violations
    assert violation.field == "request"
    assert "mlxforge.v1.GenerateRequest" in violation.description


async def test_unknown_methods_and_services(start: Start) -> None:
    client = await start()
    for path in ("/mlxforge.v1.GenerationService/Nope", "/nope.Service/Generate", "/"):
        error = await refused(unary_unary(client.channel, path)(b""))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_rpcs_of_later_say_so(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ModelService, "unload_model")
    client = await start()
    error = await refused(client.models.UnloadModel(model_pb2.UnloadModelRequest(model="fake")))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "does not implement" in (error.details() or "")
    assert details_of(status_of_rpc(error))["ErrorInfo"].reason == "UNIMPLEMENTED"


async def test_calls_beyond_the_limit_are_told_to_come_again(start: Start) -> None:
    client = await start(FakeEngine(script=SLOW), max_concurrent_calls=2)
    running = [client.generation.StreamGenerate(LONG) for _ in range(2)]
    await asyncio.gather(*(call.read() for call in running))
    error = await refused(client.generation.Generate(Request(prompt="a")))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = details_of(status_of_rpc(error))
    assert details["ErrorInfo"].reason == "TOO_MANY_CALLS"
    assert details["RetryInfo"].retry_delay.seconds == 1
    running[0].cancel()
    await until(lambda: client.engine.live == 1)
    assert await client.generation.Generate(Request(prompt="a", max_tokens=1))


async def test_unknown_models(start: Start) -> None:
    client = await start()
    for call in (
        client.generation.Generate(Request(model="nope", prompt="a")),
        client.tokenizer.Tokenize(tokenizer_pb2.TokenizeRequest(model="nope", text="a")),
        client.models.GetModel(model_pb2.GetModelRequest(model="nope")),
        client.embedding.Embed(embedding_pb2.EmbedRequest(model="nope")),
    ):
        error = await refused(call)
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert "'nope'" in (error.details() or "") and "fake" in (error.details() or "")


async def test_a_unix_socket(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "socket"
    client = await start(address=(f"unix:{path}",))
    response = await client.generation.Generate(Request(prompt="a b", max_tokens=2))
    assert response.choices[0].text == "a b"


BAD_REQUESTS: list[tuple[Request, grpc.StatusCode, str]] = [
    (Request(prompt=""), grpc.StatusCode.INVALID_ARGUMENT, "prompt"),
    (Request(), grpc.StatusCode.INVALID_ARGUMENT, "prompt"),
    (
        Request(prompt="a", sampling_params={"temperature": -1}),
        grpc.StatusCode.INVALID_ARGUMENT,
        "sampling_params.temperature",
    ),
    (
        Request(prompt="a", sampling_params={"top_p": 2}),
        grpc.StatusCode.INVALID_ARGUMENT,
        "sampling_params.top_p",
    ),
    (Request(prompt="a", model="nope"), grpc.StatusCode.NOT_FOUND, ""),
    (Request(prompt="x" * 10 * 2**20), grpc.StatusCode.RESOURCE_EXHAUSTED, ""),
    (
        Request(chat={"messages": [{"role": "robot", "content": "x"}]}),
        grpc.StatusCode.INVALID_ARGUMENT,
        "chat.messages[0].role",
    ),
    (Request(prompt="a", stop=["s"] * 10_000), grpc.StatusCode.INVALID_ARGUMENT, "stop"),
    (Request(prompt="a", n=2**32 - 1), grpc.StatusCode.INVALID_ARGUMENT, "n"),
]


async def test_bad_requests_disturb_no_stream(start: Start) -> None:
    script = Script(word_seconds=0.002, hold_at_word=50)
    client = await start(FakeEngine(script=script))
    prompts = [f"stream {i} says these words" for i in range(8)]
    streams = [
        asyncio.create_task(_text(client, Request(prompt=prompt, max_tokens=100)))
        for prompt in prompts
    ]
    await until(lambda: client.engine.live == 8)
    for _ in range(3):
        for request, code, field in BAD_REQUESTS:
            error = await refused(client.generation.StreamGenerate(request))
            assert error.code() is code
            if field:
                violations = details_of(status_of_rpc(error))["BadRequest"].field_violations
                assert [violation.field for violation in violations] == [field]
    assert client.engine.live == 8 and client.engine.started == 8
    script.released.set()
    for prompt, text in zip(prompts, await asyncio.gather(*streams), strict=True):
        assert text == " ".join((prompt.split() * 20)[:100])


async def _text(client: Client, request: Request) -> str:
    call = client.generation.StreamGenerate(request)
    return "".join([response.delta.text async for response in call])


async def test_a_small_message_cannot_unpack_into_a_large_one(start: Start) -> None:
    client = await start()
    async with grpc.aio.insecure_channel(
        client.address, compression=grpc.Compression.Gzip
    ) as channel:
        other = Client(client.server, client.registry, client.engine, client.address, channel)
        error = await refused(other.generation.Generate(Request(prompt="x" * 64 * 2**20)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.engine.started == 0
