"""``EmbeddingEngine`` on the process's device thread, with the MiniLM model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.embedding.engine import EmbeddingEngine, is_encoder
from mlxforge.engine.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidRequest,
    LoadError,
    Unavailable,
    Unsupported,
)
from mlxforge.engine.loader import resolve
from mlxforge.engine.output import Capability
from mlxforge.engine.request import Chat, EmbeddingRequest, GenerationRequest, Message


@pytest.fixture
async def engine() -> AsyncIterator[EmbeddingEngine]:
    engine = EmbeddingEngine("all-minilm-l6-v2")
    await engine.start()
    yield engine
    await engine.close()


def request(*inputs: str | tuple[int, ...], **settings: Any) -> EmbeddingRequest:
    return EmbeddingRequest("r", inputs, **settings)


async def test_info(engine: EmbeddingEngine) -> None:
    info = engine.info
    assert info.id == "all-minilm-l6-v2"
    assert info.architecture == "bert"
    assert info.capabilities == {Capability.EMBED}
    assert (info.embedding_dimensions, info.embedding_pooling) == (384, "mean")
    assert (info.max_model_len, info.max_embed_inputs) == (256, 2048)
    assert engine.healthy


async def test_many_at_once(engine: EmbeddingEngine) -> None:
    words = ["river", "stone", "cloud", "ember", "willow", "harbor"]
    outputs = await asyncio.gather(*(engine.embed(request(word, "x")) for word in words))
    for word, output in zip(words, outputs, strict=True):
        alone = await engine.embed(request(word))
        np.testing.assert_allclose(output.vectors[0], alone.vectors[0], atol=1e-5)
        np.testing.assert_allclose(output.vectors[1], outputs[0].vectors[1], atol=1e-5)


async def test_tokenize_and_detokenize(engine: EmbeddingEngine) -> None:
    ids, texts = await engine.tokenize("Hello world")
    assert ids == [101, 7592, 2088, 102]
    assert len(texts) == 4
    plain, _ = await engine.tokenize("Hello world", add_special_tokens=False)
    assert await engine.detokenize(plain) == "hello world"
    with pytest.raises(InvalidRequest, match=r"token_ids\[1\]"):
        await engine.detokenize([101, 30522])
    output = await engine.embed(request(tuple(ids), "Hello world"))
    np.testing.assert_allclose(output.vectors[0], output.vectors[1], atol=1e-6)


async def test_only_embeds(engine: EmbeddingEngine) -> None:
    with pytest.raises(Unsupported):
        async for _ in engine.generate(GenerationRequest("g", prompt="x")):
            pass
    with pytest.raises(Unsupported):
        await engine.tokenize(Chat((Message("user", "x"),)))


async def test_cancelled_task_frees_the_device(engine: EmbeddingEngine) -> None:
    big = asyncio.create_task(engine.embed(request(*(["some words " * 40] * 2048))))
    await asyncio.sleep(0.3)
    assert not big.done()
    big.cancel()
    with pytest.raises(asyncio.CancelledError):
        await big
    start = time.monotonic()
    await engine.embed(request("small"))
    assert time.monotonic() - start < 5  # not behind 2,047 others (a minute on a slow machine)


async def test_deadline(engine: EmbeddingEngine) -> None:
    late = request(*(["some words " * 40] * 2048), deadline=time.monotonic() + 0.3)
    with pytest.raises(DeadlineExceeded):
        await engine.embed(late)


async def test_drain_waits_and_refuses(engine: EmbeddingEngine) -> None:
    running = asyncio.create_task(engine.embed(request(*(["some words"] * 64))))
    await asyncio.sleep(0)
    await engine.drain(30)
    assert running.done()
    assert running.result().vectors.shape == (64, 384)
    assert not engine.healthy
    with pytest.raises(Unavailable):
        await engine.embed(request("late"))


async def test_close_ends_requests_and_may_be_called_twice() -> None:
    engine = EmbeddingEngine("all-minilm-l6-v2", EngineConfig(warm_up=False), model_id="m")
    with pytest.raises(Unavailable, match="loading"):
        await engine.embed(request("early"))
    await engine.start()
    running = asyncio.create_task(engine.embed(request(*(["some words " * 40] * 2048))))
    await asyncio.sleep(0.2)
    await engine.close()
    with pytest.raises(Cancelled):
        await running
    await engine.close()
    with pytest.raises(Unavailable, match="closed"):
        await engine.embed(request("late"))


async def test_models_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(LoadError):
        await EmbeddingEngine(str(tmp_path / "nothing")).start()
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(LoadError):
        await EmbeddingEngine(str(tmp_path)).start()


def test_which_models_are_encoders(tmp_path: Path) -> None:
    assert is_encoder(resolve("all-minilm-l6-v2"))
    assert not is_encoder(resolve("smollm2-135m-instruct"))
    assert not is_encoder(tmp_path)
