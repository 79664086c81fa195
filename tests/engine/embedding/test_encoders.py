"""The encoder families against transformers' own (see make_golden.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlxforge.engine.embedding.model import Backbone, build_encoder, dequantized
from mlxforge.engine.errors import LoadError

from .tiny_encoders import CONFIGS, LENGTHS, tiny_texts, tiny_weights

GOLDEN = np.load(Path(__file__).parent / "tiny_encoders.npz")


def build(name: str, **changes: Any) -> Backbone:
    weights = {key: mx.array(value) for key, value in tiny_weights(name).items()}
    return build_encoder({**CONFIGS[name], **changes}, weights)


def padded(rows: list[list[int]], width: int) -> mx.array:
    # The padding's id is of the vocabulary and must not matter.
    return mx.array([row + [7] * (width - len(row)) for row in rows])


@pytest.mark.parametrize("name", CONFIGS)
def test_equals_transformers(name: str) -> None:
    encoder = build(name)
    for index, ids in enumerate(tiny_texts()):
        hidden = np.array(encoder(mx.array([ids])))[0]
        np.testing.assert_allclose(hidden, GOLDEN[f"{name}/{index}"], atol=2e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_does_not_leak(name: str) -> None:
    encoder = build(name)
    for width in (max(LENGTHS), 60):
        hidden = np.array(encoder(padded(tiny_texts(), width), mx.array(LENGTHS)))
        assert np.isfinite(hidden).all()  # padding rows too: pooling multiplies them by 0
        for index, length in enumerate(LENGTHS):
            expected = GOLDEN[f"{name}/{index}"]
            np.testing.assert_allclose(hidden[index, :length], expected, atol=2e-5)


def test_names_of_checkpoints_with_heads() -> None:
    plain = build("bert")
    weights = {f"bert.{key}": mx.array(value) for key, value in tiny_weights("bert").items()}
    weights["cls.predictions.bias"] = mx.zeros(3)
    weights["bert.pooler.dense.weight"] = mx.zeros((32, 32))
    weights["bert.embeddings.position_ids"] = mx.zeros((1, 66))
    other = build_encoder(CONFIGS["bert"], weights)
    ids = mx.array([tiny_texts()[2]])
    assert mx.array_equal(plain(ids), other(ids))


def test_transformers_5_configuration_of_modernbert() -> None:
    ropes = {
        "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }
    kinds = ["full_attention", "sliding_attention", "full_attention"]
    config = {k: v for k, v in CONFIGS["modernbert"].items() if "global" not in k}
    del config["local_rope_theta"]
    weights = {key: mx.array(value) for key, value in tiny_weights("modernbert").items()}
    encoder = build_encoder({**config, "rope_parameters": ropes, "layer_types": kinds}, weights)
    hidden = np.array(encoder(mx.array([tiny_texts()[3]])))[0]
    np.testing.assert_allclose(hidden, GOLDEN["modernbert/3"], atol=2e-5)


def test_quantized_weights_are_expanded() -> None:
    weight = mx.random.normal((32, 64))
    packed, scales, biases = mx.quantize(weight, group_size=32, bits=8)
    stored = {"a.weight": packed, "a.scales": scales, "a.biases": biases, "a.bias": mx.zeros(32)}
    whole = dequantized(stored, {"group_size": 32, "bits": 8})
    assert sorted(whole) == ["a.bias", "a.weight"]
    assert mx.allclose(whole["a.weight"], weight, atol=0.05)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bert", {"position_embedding_type": "relative_key"}, "relative positions"),
        ("bert", {"hidden_act": "swish"}, "'swish'"),
        ("bert", {"is_decoder": True}, "decoder"),
        ("bert", {"num_hidden_layers": 4}, "do not fit"),
        ("bert", {"hidden_size": 16}, "do not fit"),
        ("modernbert", {"vocab_size": 98}, "do not fit"),
        ("bert", {"model_type": "t5"}, "not a known encoder"),
    ],
)
def test_refuses_what_it_cannot_run(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        build(name, **changes)
