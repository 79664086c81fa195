"""Embedding on a model that generates, beside its streams."""

from __future__ import annotations

import asyncio

import mlx.core as mx
import numpy as np
import pytest

from mlxforge.engine.engine import Engine
from mlxforge.engine.request import EmbeddingRequest, GenerationRequest, Pooling, SamplingParams

TEXTS = tuple(f"text number {i} about {word}" for i in range(20) for word in ("rain", "bread"))


async def answer(engine: Engine, request_id: str) -> list[int]:
    """The tokens of a greedy answer."""
    request = GenerationRequest(
        request_id=request_id,
        prompt="Once upon a time",
        sampling_params=SamplingParams(temperature=0.0),
        max_tokens=16,
        ignore_eos=True,
    )
    return [token async for output in engine.generate(request) for token in output.token_ids]


@pytest.mark.timeout(300)
async def test_a_generating_model_embeds_beside_its_streams() -> None:
    engine = Engine("smollm2-135m-instruct")
    await engine.start()
    try:
        assert engine.info.embedding_dimensions == 576
        alone = await answer(engine, "alone")
        both = await asyncio.gather(
            answer(engine, "stream"),
            engine.embed(EmbeddingRequest("vectors", TEXTS, pooling=Pooling.LAST)),
        )
        assert both[0] == alone, "an embedding changed a stream's tokens"
        vectors = both[1].vectors
        assert vectors.shape == (len(TEXTS), 576)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        single = await engine.embed(EmbeddingRequest("one", TEXTS[3:4], pooling=Pooling.LAST))
        np.testing.assert_allclose(single.vectors[0], vectors[3], atol=1e-5)
        await _check_against_the_models_own_states(engine, TEXTS[3], vectors[3])
    finally:
        await engine.close()


async def _check_against_the_models_own_states(
    engine: Engine, text: str, vector: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> None:
    """The last token's state of mlx-lm's class under the same weights, loaded afresh."""
    from mlxforge.engine.loader import load_model

    def states() -> list[float]:
        loaded = load_model("smollm2-135m-instruct")
        tokens = [*loaded.tokenizer.encode(text), min(loaded.eos_token_ids)]
        hidden = loaded.model.model(mx.array([tokens]))[0, -1]
        unit: list[float] = (hidden / mx.linalg.norm(hidden)).tolist()
        return unit

    assembly = engine._assembly
    assert assembly is not None
    expected = await asyncio.wrap_future(assembly.device.call(states))
    np.testing.assert_allclose(vector, expected, atol=1e-4)
