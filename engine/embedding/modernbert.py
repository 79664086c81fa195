"""ModernBERT: rotary positions, gated feed-forward, local and global attention in turn.

Warner et al. 2024 (arXiv:2412.13663).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ..errors import LoadError
from .layers import ACTIVATIONS, Module, attention, padding_mask, split_heads

_UNUSED = ("head.", "decoder.", "classifier.")


@dataclass(frozen=True, slots=True)
class ModernBertConfig:
    """Sizes of a ModernBERT; ``reach`` is how many tokens a local layer sees to each side."""

    vocab_size: int
    hidden_size: int
    heads: int
    intermediate_size: int
    max_length: int
    norm_eps: float
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    activation: str
    local: tuple[bool, ...]
    reach: int
    local_theta: float
    global_theta: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ModernBertConfig:
        """Read a ``config.json``, of transformers 4 or 5 style."""
        types = config.get("layer_types")
        if types is None:
            every = config.get("global_attn_every_n_layers", 3)
            local = tuple(i % every != 0 for i in range(config["num_hidden_layers"]))
        else:
            local = tuple(kind == "sliding_attention" for kind in types)
        ropes = config.get("rope_parameters") or {}
        for rope in ropes.values():
            if rope and rope.get("rope_type", "default") != "default":
                raise LoadError(f"modernbert: rope type {rope['rope_type']!r} is not supported")
        activation = config.get("hidden_activation", "gelu")
        if activation not in ACTIVATIONS:
            raise LoadError(f"modernbert: activation {activation!r} is not supported")

        def theta(kind: str, old: str, default: float) -> float:
            rope = ropes.get(kind) or {}
            return float(rope.get("rope_theta") or config.get(old) or default)

        return cls(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            heads=config["num_attention_heads"],
            intermediate_size=config["intermediate_size"],
            max_length=config.get("max_position_embeddings", 8192),
            norm_eps=config.get("norm_eps", 1e-5),
            norm_bias=config.get("norm_bias", False),
            attention_bias=config.get("attention_bias", False),
            mlp_bias=config.get("mlp_bias", False),
            activation=activation,
            local=local,
            reach=config.get("local_attention", 128) // 2,
            local_theta=theta("sliding_attention", "local_rope_theta", 10_000.0),
            global_theta=theta("full_attention", "global_rope_theta", 160_000.0),
        )


class ModernBertLayer(Module):
    """Pre-norm attention and gated feed-forward; the first layer has no first norm."""

    def __init__(self, config: ModernBertConfig, index: int) -> None:
        super().__init__()
        size, eps, bias = config.hidden_size, config.norm_eps, config.norm_bias
        self.heads = config.heads
        self.head_dim = size // config.heads
        self.local = config.local[index]
        self.theta = config.local_theta if self.local else config.global_theta
        self.activation = ACTIVATIONS[config.activation]
        if index:
            self.attn_norm = nn.LayerNorm(size, eps, bias=bias)
        self.first = index == 0
        self.qkv = nn.Linear(size, 3 * size, bias=config.attention_bias)
        self.out = nn.Linear(size, size, bias=config.attention_bias)
        self.mlp_norm = nn.LayerNorm(size, eps, bias=bias)
        self.up = nn.Linear(size, 2 * config.intermediate_size, bias=config.mlp_bias)
        self.down = nn.Linear(config.intermediate_size, size, bias=config.mlp_bias)

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        """Shapes (B, L, D) in and out."""
        q, k, v = split_heads(self.qkv(x if self.first else self.attn_norm(x)), self.heads)
        q, k = self._rope(q), self._rope(k)
        x = x + self.out(attention(q, k, v, mask))
        inner, gate = mx.split(self.up(self.mlp_norm(x)), 2, axis=-1)
        return x + self.down(self.activation(inner) * gate)

    def _rope(self, x: mx.array) -> mx.array:
        return mx.fast.rope(
            x, self.head_dim, traditional=False, base=self.theta, scale=1.0, offset=0
        )


class ModernBertEncoder(Module):
    """Token vectors of a batch."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        size, eps, bias = config.hidden_size, config.norm_eps, config.norm_bias
        self.tokens = nn.Embedding(config.vocab_size, size)
        self.norm = nn.LayerNorm(size, eps, bias=bias)
        self.layers = [ModernBertLayer(config, i) for i in range(len(config.local))]
        self.final_norm = nn.LayerNorm(size, eps, bias=bias)
        self.reach = config.reach
        self.max_length = config.max_length
        self.dimensions = size
        self.vocab_size = config.vocab_size

    def __call__(self, tokens: mx.array, lengths: mx.array | None = None) -> mx.array:
        """Vectors (B, L, D) of right-padded tokens (B, L); ``lengths`` (B,), None: no padding."""
        width = tokens.shape[1]
        full = None if lengths is None else padding_mask(lengths, width)
        local = self._local_mask(full, width)
        x = self.norm(self.tokens(tokens))
        for layer in self.layers:
            x = layer(x, local if layer.local else full)
        out: mx.array = self.final_norm(x)
        return out

    def _local_mask(self, full: mx.array | None, width: int) -> mx.array | None:
        """``full`` narrowed to the neighbourhood: bool, (B or 1, 1, width, width)."""
        if width <= self.reach + 1:  # every token reaches every other
            return full
        at = mx.arange(width)
        near = (mx.abs(at[:, None] - at[None]) <= self.reach)[None, None]
        if full is None:
            return near
        # A padding row far from the text would see nothing, and its softmax be NaN, which
        # 0 * NaN in the pooling would spread: let padding rows see the text's keys.
        outside = ~full.transpose(0, 1, 3, 2)
        return full & (near | outside)


def build_modernbert(
    config: Mapping[str, Any], weights: Mapping[str, mx.array]
) -> ModernBertEncoder:
    """A ModernBERT with its weights. Raises ``LoadError`` when they do not fit."""
    model = ModernBertEncoder(ModernBertConfig.of(config))
    named = {_rename(name): array for name, array in weights.items()}
    named = {name: array for name, array in named.items() if not name.startswith(_UNUSED)}
    try:
        model.load_weights(list(named.items()), strict=True)
    except ValueError as error:
        raise LoadError(f"weights do not fit a modernbert: {error}") from error
    return model


def _rename(name: str) -> str:
    name = name.removeprefix("model.")
    for old, new in (
        ("embeddings.tok_embeddings.", "tokens."),
        ("embeddings.norm.", "norm."),
        (".attn.Wqkv.", ".qkv."),
        (".attn.Wo.", ".out."),
        (".mlp.Wi.", ".up."),
        (".mlp.Wo.", ".down."),
    ):
        name = name.replace(old, new)
    return name
