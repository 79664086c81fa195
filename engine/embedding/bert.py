"""BERT and its kin: BERT, RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT.

Devlin et al. 2018 (arXiv:1810.04805). The families differ in names of weights, in where
positions start and in token types; loading irons that out, so that one forward pass serves
all. Queries, keys and values are one matrix product, and the one token type that texts have
is added to the positions when the weights are loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ..errors import LoadError
from .layers import ACTIVATIONS, Module, attention, padding_mask, split_heads

# Where the names of weights differ from ours; applied in this order to each name.
_RENAMES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"^(bert|roberta|xlm_roberta|distilbert|camembert|model)\.", ""),
        (r"LayerNorm\.gamma$", "LayerNorm.weight"),
        (r"LayerNorm\.beta$", "LayerNorm.bias"),
        (r"^embeddings\.LayerNorm\.", "norm."),
        (r"^embeddings\.word_embeddings\.", "tokens."),
        (r"^(encoder|transformer)\.layer\.", "layers."),
        (r"\.attention\.(self\.query|q_lin)\.", ".q."),
        (r"\.attention\.(self\.key|k_lin)\.", ".k."),
        (r"\.attention\.(self\.value|v_lin)\.", ".v."),
        (r"\.attention\.(output\.dense|out_lin)\.", ".out."),
        (r"\.(attention\.output\.LayerNorm|sa_layer_norm)\.", ".out_norm."),
        (r"\.(intermediate\.dense|ffn\.lin1)\.", ".up."),
        (r"\.(output\.dense|ffn\.lin2)\.", ".down."),
        (r"\.(output\.LayerNorm|output_layer_norm)\.", ".down_norm."),
    )
)
_UNUSED = re.compile(r"^(pooler|cls|lm_head|classifier|vocab_\w+|embeddings\.position_ids)\b")


@dataclass(frozen=True, slots=True)
class BertConfig:
    """Sizes of a BERT; ``position_offset`` is the first row of the position table in use."""

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    positions: int
    position_offset: int
    norm_eps: float
    activation: str

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> BertConfig:
        """Read a ``config.json``. Raises ``LoadError`` for variants that are not supported."""
        kind = config["model_type"]
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise LoadError(f"{kind} with relative positions is not supported")
        if config.get("is_decoder"):
            raise LoadError(f"{kind} as a decoder is not supported")
        if kind == "distilbert":
            config = {
                **config,
                "hidden_size": config["dim"],
                "num_hidden_layers": config["n_layers"],
                "num_attention_heads": config["n_heads"],
                "intermediate_size": config["hidden_dim"],
                "hidden_act": config.get("activation", "gelu"),
            }
        roberta = kind in ("roberta", "xlm-roberta", "camembert")
        activation = config.get("hidden_act", "gelu")
        if activation not in ACTIVATIONS:
            raise LoadError(f"{kind}: activation {activation!r} is not supported")
        return cls(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            intermediate_size=config["intermediate_size"],
            positions=config["max_position_embeddings"],
            # RoBERTa numbers positions from the padding id + 1.
            position_offset=int(config.get("pad_token_id") or 0) + 1 if roberta else 0,
            norm_eps=config.get("layer_norm_eps", 1e-12),
            activation=activation,
        )


class BertLayer(Module):
    """Attention and feed-forward, each followed by the norm of its sum with the input."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.heads
        self.activation = ACTIVATIONS[config.activation]
        self.qkv = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.out_norm = nn.LayerNorm(size, config.norm_eps)
        self.up = nn.Linear(size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, size)
        self.down_norm = nn.LayerNorm(size, config.norm_eps)

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        """Shapes (B, L, D) in and out."""
        q, k, v = split_heads(self.qkv(x), self.heads)
        x = self.out_norm(x + self.out(attention(q, k, v, mask)))
        out: mx.array = self.down_norm(x + self.down(self.activation(self.up(x))))
        return out


class BertEncoder(Module):
    """Token vectors of a batch."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.max_length = config.positions - config.position_offset
        self.positions = mx.zeros((self.max_length, config.hidden_size))
        self.norm = nn.LayerNorm(config.hidden_size, config.norm_eps)
        self.layers = [BertLayer(config) for _ in range(config.layers)]
        self.dimensions = config.hidden_size
        self.vocab_size = config.vocab_size

    def __call__(self, tokens: mx.array, lengths: mx.array | None = None) -> mx.array:
        """Vectors (B, L, D) of right-padded tokens (B, L); ``lengths`` (B,), None: no padding."""
        width = tokens.shape[1]
        mask = None if lengths is None else padding_mask(lengths, width)
        x: mx.array = self.norm(self.tokens(tokens) + self.positions[:width])
        for layer in self.layers:
            x = layer(x, mask)
        return x


def build_bert(config: Mapping[str, Any], weights: Mapping[str, mx.array]) -> BertEncoder:
    """A BERT with its weights. Raises ``LoadError`` when they do not fit the configuration."""
    settings = BertConfig.of(config)
    renamed = {_rename(name): array for name, array in weights.items()}
    renamed = {name: array for name, array in renamed.items() if not _UNUSED.match(name)}
    try:
        positions = renamed.pop("embeddings.position_embeddings.weight")
        types = renamed.pop("embeddings.token_type_embeddings.weight", None)
        positions = positions[settings.position_offset :]
        renamed["positions"] = positions if types is None else positions + types[0]
        for index in range(settings.layers):
            for kind in ("weight", "bias"):
                parts = [renamed.pop(f"layers.{index}.{part}.{kind}") for part in "qkv"]
                renamed[f"layers.{index}.qkv.{kind}"] = mx.concatenate(parts)
        model = BertEncoder(settings)
        model.load_weights(list(renamed.items()), strict=True)
    except (KeyError, ValueError) as error:
        raise LoadError(f"weights do not fit a {config['model_type']}: {error}") from error
    return model


def _rename(name: str) -> str:
    for pattern, new in _RENAMES:
        name = pattern.sub(new, name)
    return name
