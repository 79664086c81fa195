"""``EmbeddingService`` over real sockets."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from mlxforge.engine.request import EmbeddingRequest, Pooling
from mlxforge.v1 import embedding_pb2

from .fakes import DIMENSIONS, FakeEngine, Script
from .serving import Client, Start, details_of, status_of_rpc, until

Request = embedding_pb2.EmbedRequest


@pytest.fixture
async def client(start: Start) -> Client:
    return await start(FakeEngine.embedder())


async def test_embed_answers_in_order(client: Client) -> None:
    response = await client.embedding.Embed(
        Request(inputs=[{"text": "abc"}, {"token_ids": {"ids": [1, 2]}}, {"text": ""}])
    )
    assert response.id.startswith("req_") and response.model == "fake"
    assert [embedding.index for embedding in response.embeddings] == [0, 1, 2]
    assert [list(e.values) for e in response.embeddings] == [[n] * DIMENSIONS for n in (3, 2, 0)]
    assert response.usage.prompt_tokens == 5


async def test_every_field_reaches_the_engine(client: Client) -> None:
    await client.embedding.Embed(
        Request(
            inputs=[{"text": "a"}],
            pooling=embedding_pb2.POOLING_CLS,
            dimensions=2,
            normalize=False,
            instruction="i",
            truncate=True,
        )
    )
    [request] = client.engine.requests
    assert isinstance(request, EmbeddingRequest)
    assert (request.pooling, request.dimensions, request.normalize) == (Pooling.CLS, 2, False)
    assert (request.instruction, request.truncate, request.inputs) == ("i", True, ("a",))


async def test_defaults(client: Client) -> None:
    await client.embedding.Embed(Request(inputs=[{"text": "a"}]))
    [request] = client.engine.requests
    assert isinstance(request, EmbeddingRequest)
    assert request.pooling is None and request.dimensions is None and request.normalize


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["inputs"]),
    ({"inputs": [{"text": "a"}, {}]}, ["inputs[1].text"]),
    ({"inputs": [{"text": "a"}], "pooling": 9, "dimensions": 0}, ["pooling", "dimensions"]),
    ({"inputs": [{"token_ids": {}}], "instruction": "x" * 4097}, ["instruction"]),
    ({"inputs": [{"text": "a"}] * 2049}, ["inputs"]),
]


@pytest.mark.parametrize(("fields", "expected"), BAD)
async def test_bad_requests(fields: dict[str, Any], expected: list[str], client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.embedding.Embed(Request(**fields))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    violations = details_of(status_of_rpc(caught.value))["BadRequest"].field_violations
    assert {v.field for v in violations} >= set(expected)
    assert not client.engine.requests


async def test_stream_embed_answers_each_request_in_order(client: Client) -> None:
    async def requests() -> Any:
        for text in ("a", "bb", "ccc"):
            yield Request(inputs=[{"text": text}])

    responses = [r async for r in client.embedding.StreamEmbed(requests())]
    assert [r.sequence for r in responses] == [0, 1, 2]
    assert [r.embeddings[0].values[0] for r in responses] == [1, 2, 3]
    assert len({request.request_id for request in client.engine.requests}) == 3


async def test_a_stream_works_ahead_and_cleans_up(start: Start) -> None:
    client = await start(FakeEngine.embedder(Script(embed_seconds=0.2)))
    call = client.embedding.StreamEmbed()
    for i in range(1, 9):  # large ones: of small messages more are in flight
        await call.write(Request(inputs=[{"text": "x" * i}] * 200))
    await until(lambda: client.engine.live == 4)
    assert (await call.read()).embeddings[0].values[0] == 1
    await until(lambda: client.engine.live == 4)
    call.cancel()
    await until(lambda: client.engine.live == 0)
    assert len(client.engine.requests) == 8


async def test_bytes_that_are_no_request_end_a_stream(client: Client) -> None:
    call: Any = client.channel.stream_stream("/mlxforge.v1.EmbeddingService/StreamEmbed")()
    good = Request(inputs=[{"text": "a"}]).SerializeToString()
    for data in (good, b"\xff"):
        await call.write(data)
    assert await call.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_bad_request_ends_a_stream(client: Client) -> None:
    call = client.embedding.StreamEmbed()
    await call.write(Request(inputs=[{"text": "a"}]))
    assert (await call.read()).sequence == 0
    await call.write(Request())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_model_that_cannot_embed(start: Start) -> None:
    generator = await start()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generator.embedding.Embed(Request(model="fake", inputs=[{"text": "a"}]))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    info = details_of(status_of_rpc(caught.value))["ErrorInfo"]
    assert info.reason == "MODEL_CANNOT_EMBED"
