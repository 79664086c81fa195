"""``StreamEmbed`` end to end: sockets, API, scheduler, device, with a tiny encoder.

The tiny model is as quick as a real one is slow, so that 100,000 texts take seconds; with
MLXFORGE_SOAK=1 they go through MiniLM, too (minutes).
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import mlx.core as mx
import numpy as np
import pytest

from mlxforge.engine.embedding.engine import EmbeddingEngine
from mlxforge.engine.output import EmbeddingOutput
from mlxforge.engine.request import EmbeddingRequest
from mlxforge.v1 import embedding_pb2

from ..engine.embedding.running import tiny_model, words
from ..engine.embedding.tiny_encoders import CONFIGS, tiny_weights
from .serving import Client, details_of, serving, status_of_rpc, until

PER_MESSAGE = 250
MESSAGES = 400
SOAK = bool(os.environ.get("MLXFORGE_SOAK"))


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-bert")
    (folder / "config.json").write_text(json.dumps(CONFIGS["bert"]))
    weights = {name: mx.array(value) for name, value in tiny_weights("bert").items()}
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    tiny_model().inputs._whole.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


def text_of(index: int) -> str:
    return words(*range(index % 89, index % 89 + 1 + index % 7))


def message(index: int, **settings: Any) -> embedding_pb2.EmbedRequest:
    first = index * PER_MESSAGE
    inputs = [{"text": text_of(i)} for i in range(first, first + PER_MESSAGE)]
    return embedding_pb2.EmbedRequest(inputs=inputs, **settings)


async def messages(count: int) -> AsyncIterator[embedding_pb2.EmbedRequest]:
    for index in range(count):
        yield message(index)


def resident_bytes() -> int:
    """Memory of this process now (Linux), or its peak (macOS)."""
    if sys.platform.startswith("linux"):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    else:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def stream_corpus(client: Client, count: int) -> None:
    """Order, completeness and memory of a corpus that goes through."""
    known: dict[str, np.ndarray[Any, Any]] = {}
    before, received = 0, 0
    async for response in client.embedding.StreamEmbed(messages(count)):
        assert response.sequence == received
        assert [item.index for item in response.embeddings] == list(range(PER_MESSAGE))
        for item in response.embeddings[:: PER_MESSAGE // 5]:
            text = text_of(received * PER_MESSAGE + item.index)
            vector = np.array(item.values)
            np.testing.assert_allclose(vector, known.setdefault(text, vector), atol=1e-5)
        received += 1
        if received == count // 10:  # all is warm
            before = resident_bytes()
    assert received == count
    assert resident_bytes() - before < 64 << 20


async def test_a_corpus_in_bounded_memory_and_in_order(tiny_folder: Path) -> None:
    async with serving(EmbeddingEngine(str(tiny_folder))) as client:
        await stream_corpus(client, MESSAGES)


class Counting(EmbeddingEngine):
    """Notes how many requests and inputs it has at once."""

    now, most_requests, inputs, most_inputs = 0, 0, 0, 0

    async def embed(self, request: EmbeddingRequest) -> EmbeddingOutput:
        self.now += 1
        self.inputs += len(request.inputs)
        self.most_requests = max(self.most_requests, self.now)
        self.most_inputs = max(self.most_inputs, self.inputs)
        try:
            return await super().embed(request)
        finally:
            self.now -= 1
            self.inputs -= len(request.inputs)


@pytest.mark.parametrize(("size", "at_once"), [(1, 32), (100, 5), (300, 4)])
async def test_several_messages_are_embedded_together(
    tiny_folder: Path, size: int, at_once: int
) -> None:
    """Small ones share batches; how much is in flight is bounded; answers keep their order."""
    engine = Counting(str(tiny_folder))
    texts = [[text_of(size * index + i) for i in range(size)] for index in range(60)]

    async def send() -> AsyncIterator[embedding_pb2.EmbedRequest]:
        for some in texts:
            yield embedding_pb2.EmbedRequest(inputs=[{"text": text} for text in some])

    async with serving(engine) as client:
        known: dict[str, np.ndarray[Any, Any]] = {}
        received = 0
        async for response in client.embedding.StreamEmbed(send()):
            assert response.sequence == received
            for text, item in zip(texts[received], response.embeddings, strict=True):
                vector = np.array(item.values)
                np.testing.assert_allclose(vector, known.setdefault(text, vector), atol=1e-5)
            received += 1
        assert received == len(texts)
    assert engine.most_requests <= at_once
    assert engine.most_inputs <= max(512, at_once * size)
    assert engine.most_requests > at_once // 2


@pytest.mark.skipif(not SOAK, reason="takes minutes; MLXFORGE_SOAK=1 runs it")
@pytest.mark.timeout(3600)
async def test_a_corpus_through_minilm() -> None:
    async with serving(EmbeddingEngine("all-minilm-l6-v2")) as client:
        await stream_corpus(client, MESSAGES)


async def test_a_cancel_stops_within_a_second() -> None:
    engine = EmbeddingEngine("all-minilm-l6-v2")
    async with serving(engine) as client:
        call = client.embedding.StreamEmbed(messages(MESSAGES))
        first = await call.read()
        assert first.sequence == 0
        assert engine._serving is not None
        scheduler = engine._serving.scheduler
        await until(lambda: scheduler.busy)
        call.cancel()
        await until(lambda: not scheduler.busy, seconds=1)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"inputs": []}, "inputs"),
        ({"inputs": [{"text": "w1"}, {"text": words(*range(70))}]}, "inputs[1]"),
        ({"inputs": [{"text": "w1"}], "pooling": 9}, "pooling"),
        ({"inputs": [{"text": "w1"}], "dimensions": 33}, "dimensions"),
        ({"inputs": [{"token_ids": {"ids": [5, 97]}}]}, "inputs[0].token_ids.ids"),
    ],
)
async def test_a_bad_message_ends_the_stream_naming_its_field(
    tiny_folder: Path, settings: dict[str, Any], field: str
) -> None:
    async def good_then_bad() -> AsyncIterator[embedding_pb2.EmbedRequest]:
        yield message(0)
        yield embedding_pb2.EmbedRequest(**settings)

    async with serving(EmbeddingEngine(str(tiny_folder))) as client:
        call = client.embedding.StreamEmbed(good_then_bad())
        assert (await call.read()).sequence == 0
        with pytest.raises(Exception, match="INVALID_ARGUMENT") as caught:
            await call.read()
        assert isinstance(caught.value, grpc.aio.AioRpcError)
        details = details_of(status_of_rpc(caught.value))
        assert [v.field for v in details["BadRequest"].field_violations] == [field]
