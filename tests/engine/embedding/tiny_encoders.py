"""Tiny encoders with seeded weights, the same for torch (golden vectors) and for MLX."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE, INNER, LAYERS, HEADS, VOCABULARY, POSITIONS = 32, 48, 3, 4, 97, 66

# Lengths of the texts; some are longer than ModernBERT's local attention reaches.
LENGTHS = (1, 5, 17, 48)

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": SIZE,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": POSITIONS,
}
_BERT = {**_COMMON, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
_ROBERTA = {**_BERT, "pad_token_id": 1, "type_vocab_size": 1, "layer_norm_eps": 1e-5}

CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {**_BERT, "model_type": "bert", "pad_token_id": 0},
    "bert_relu": {**_BERT, "model_type": "bert", "pad_token_id": 0, "hidden_act": "relu"},
    "roberta": {**_ROBERTA, "model_type": "roberta"},
    "xlm_roberta": {**_ROBERTA, "model_type": "xlm-roberta", "hidden_act": "gelu_new"},
    "distilbert": {
        "model_type": "distilbert",
        "vocab_size": VOCABULARY,
        "dim": SIZE,
        "hidden_dim": INNER,
        "n_layers": LAYERS,
        "n_heads": HEADS,
        "max_position_embeddings": POSITIONS,
        "activation": "gelu",
    },
    "modernbert": {
        **_COMMON,
        "model_type": "modernbert",
        "pad_token_id": 0,
        "local_attention": 8,
        "global_attn_every_n_layers": 2,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
    },
}


def tiny_weights(name: str) -> dict[str, NDArray[np.float32]]:
    """The weights of a tiny encoder under the names of its checkpoints."""
    config = CONFIGS[name]
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    weights = {}
    for weight, shape in _shapes(config):
        values = generator.standard_normal(shape) * (0.3 if len(shape) > 1 else 0.1)
        if "norm" in weight.lower() and weight.endswith("weight"):
            values += 1
        weights[weight] = values.astype(np.float32)
    return weights


def tiny_texts() -> list[list[int]]:
    """Token ids of some texts; none is a padding id."""
    generator = np.random.default_rng(5)
    return [generator.integers(2, VOCABULARY, length).tolist() for length in LENGTHS]


def _shapes(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    kind = config["model_type"]
    if kind == "modernbert":
        yield from _modernbert_shapes()
        return
    yield "embeddings.word_embeddings.weight", (VOCABULARY, SIZE)
    yield "embeddings.position_embeddings.weight", (POSITIONS, SIZE)
    if "type_vocab_size" in config:
        yield "embeddings.token_type_embeddings.weight", (config["type_vocab_size"], SIZE)
    yield from _norm("embeddings.LayerNorm")
    for layer in range(LAYERS):
        if kind == "distilbert":
            names = ["q_lin", "k_lin", "v_lin", "out_lin"]
            attention = [f"attention.{name}" for name in names]
            rest = ["ffn.lin1", "ffn.lin2", "sa_layer_norm", "output_layer_norm"]
            prefix = f"transformer.layer.{layer}"
        else:
            attention = [f"attention.self.{name}" for name in ("query", "key", "value")]
            attention.append("attention.output.dense")
            rest = ["intermediate.dense", "output.dense"]
            rest += ["attention.output.LayerNorm", "output.LayerNorm"]
            prefix = f"encoder.layer.{layer}"
        for name in attention:
            yield from _linear(f"{prefix}.{name}", SIZE, SIZE)
        yield from _linear(f"{prefix}.{rest[0]}", INNER, SIZE)
        yield from _linear(f"{prefix}.{rest[1]}", SIZE, INNER)
        yield from _norm(f"{prefix}.{rest[2]}")
        yield from _norm(f"{prefix}.{rest[3]}")


def _modernbert_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "embeddings.tok_embeddings.weight", (VOCABULARY, SIZE)
    yield "embeddings.norm.weight", (SIZE,)
    for layer in range(LAYERS):
        if layer:
            yield f"layers.{layer}.attn_norm.weight", (SIZE,)
        yield f"layers.{layer}.attn.Wqkv.weight", (3 * SIZE, SIZE)
        yield f"layers.{layer}.attn.Wo.weight", (SIZE, SIZE)
        yield f"layers.{layer}.mlp_norm.weight", (SIZE,)
        yield f"layers.{layer}.mlp.Wi.weight", (2 * INNER, SIZE)
        yield f"layers.{layer}.mlp.Wo.weight", (SIZE, INNER)
    yield "final_norm.weight", (SIZE,)


def _linear(name: str, out: int, into: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (out, into)
    yield f"{name}.bias", (out,)


def _norm(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (SIZE,)
    yield f"{name}.bias", (SIZE,)
