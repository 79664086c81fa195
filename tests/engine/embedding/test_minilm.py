"""MiniLM against sentence-transformers' vectors (see make_golden.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlxforge.engine.embedding.model import EmbeddingModel
from mlxforge.engine.embedding.scheduler import EmbeddingScheduler
from mlxforge.engine.request import EmbeddingRequest

from .running import embed, run

GOLDEN = Path(__file__).parent / "minilm.npz"


def test_similarities(minilm: EmbeddingModel) -> None:
    """The values of mlx-embeddings and sentence-transformers for these three."""
    sentences = (
        "A man is eating food.",
        "A man is eating a piece of bread.",
        "The girl is carrying a baby.",
    )
    vectors = embed(minilm, EmbeddingRequest("r", sentences)).vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    similarities = vectors @ vectors.T
    assert abs(similarities[0, 1] - 0.755) < 1e-3
    assert abs(similarities[0, 2] - -0.105) < 1e-3
    assert abs(similarities[1, 2] - -0.061) < 1e-3


def test_equals_sentence_transformers(minilm: EmbeddingModel, texts: list[str]) -> None:
    """1,000 texts, batched with each other, within 1e-4 cosine distance."""
    scheduler = EmbeddingScheduler(minilm)
    request = EmbeddingRequest("r", tuple(texts), truncate=True)
    output = run(scheduler, [request])[0]
    expected = np.load(GOLDEN)["vectors"].astype(np.float32)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    distances = 1 - (output.vectors * expected).sum(axis=1)
    assert output.vectors.shape == (1000, 384)
    assert output.vectors.dtype == np.float32
    assert distances.max() < 1e-4, texts[int(distances.argmax())][:80]
    assert sum(output.truncated) >= 12  # those of 10,000 characters, and not silently


def test_batched_equals_alone(minilm: EmbeddingModel, texts: list[str]) -> None:
    """Whatever the neighbours, to 1e-5 in f32."""
    chosen = [text for text in texts if len(text) < 400][::37]
    together = embed(minilm, EmbeddingRequest("r", tuple(chosen), truncate=True)).vectors
    for text, vector in zip(chosen, together, strict=True):
        alone = embed(minilm, EmbeddingRequest("r", (text,), truncate=True)).vectors[0]
        np.testing.assert_allclose(vector, alone, atol=1e-5)


def test_padding_to_any_shape_changes_nothing(minilm: EmbeddingModel) -> None:
    request = EmbeddingRequest("r", ("one", "two words", "and some more than that"))
    settings, prompt = minilm.rows(request)
    ids = [item.ids for item in minilm.inputs.encode(request, prompt, 0, 3)]
    exact = np.array(minilm.embed([(ids, settings)]))
    padded = np.array(minilm.embed([(ids, settings)], width=64, height=8))
    np.testing.assert_allclose(padded[:3], exact, atol=1e-5)
    assert np.isfinite(padded).all()
