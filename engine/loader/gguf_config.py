"""Model configurations, in mlx-lm's terms, from the metadata of GGUF files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import LoadError
from .gguf_header import GgufHeader

# GGUF tensor name -> mlx-lm's parameter, for one block and for the rest.
_BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
ARCHITECTURES = ("llama", "qwen2", "qwen3")


def parameter_name(tensor: str) -> str | None:
    """mlx-lm's name of a GGUF tensor; None for tables that mlx-lm computes itself."""
    stem, _, kind = tensor.rpartition(".")
    if stem in _OUTER_NAMES:
        return f"{_OUTER_NAMES[stem]}.{kind}"
    if stem == "rope_freqs":
        return None
    prefix, _, rest = stem.partition(".")
    block, _, name = rest.partition(".")
    if prefix == "blk" and block.isdecimal() and name in _BLOCK_NAMES:
        return f"model.layers.{int(block)}.{_BLOCK_NAMES[name]}.{kind}"
    raise LoadError(f"GGUF: tensor {tensor!r} is not part of a model of this architecture")


def config_from_gguf(header: GgufHeader) -> dict[str, Any]:
    """The configuration as a ``config.json`` would spell it. Raises ``LoadError``."""
    architecture = header.architecture
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise LoadError(
            f"GGUF: the architecture {architecture!r} is not supported (known: {known}); "
            "use the model's safetensors form instead"
        )
    values = _Values(header.metadata, architecture)
    if "llama.expert_count" in header.metadata and values.integer("expert_count", 0):
        raise LoadError("GGUF: mixtures of experts are not supported; use the safetensors form")
    heads = values.integer("attention.head_count")
    hidden = values.integer("embedding_length")
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise LoadError("GGUF: tensor 'token_embd.weight' is missing")
    head_dim = values.integer("attention.key_length", 0) or (
        values.integer("rope.dimension_count", 0) or hidden // heads
    )
    config: dict[str, Any] = {
        "model_type": architecture,
        "hidden_size": hidden,
        "num_hidden_layers": values.integer("block_count"),
        "intermediate_size": values.integer("feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": values.integer("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "rms_norm_eps": values.number("attention.layer_norm_rms_epsilon"),
        "vocab_size": embedding.shape[0],
        "max_position_embeddings": values.integer("context_length"),
        "rope_theta": values.number("rope.freq_base", 10_000.0),
        "tie_word_embeddings": "output.weight" not in header.tensors,
    }
    if architecture == "llama":
        # llama.cpp stores Llama's Q and K rows permuted for interleaved rotation.
        config["rope_traditional"] = True
        config["attention_bias"] = "blk.0.attn_q.bias" in header.tensors
    if scaling := _rope_scaling(values, header):
        config["rope_scaling"] = scaling
    return config


def _rope_scaling(values: _Values, header: GgufHeader) -> dict[str, Any] | None:
    kind = values.text("rope.scaling.type", "none")
    factor = values.number("rope.scaling.factor", 1.0)
    if kind == "linear" and factor != 1.0:
        return {"type": "linear", "factor": factor}
    if kind == "yarn":
        original = values.integer("rope.scaling.original_context_length", 0)
        if not original:
            raise LoadError("GGUF: rope.scaling.original_context_length is missing")
        return {"type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    if kind not in ("none", "linear"):
        raise LoadError(f"GGUF: rope scaling of the type {kind!r} is not supported")
    return None


class _Values:
    """Typed reads of ``<architecture>.<key>``."""

    def __init__(self, metadata: Mapping[str, Any], architecture: str) -> None:
        self._metadata = metadata
        self._architecture = architecture

    def _get(self, key: str, default: Any) -> tuple[str, Any]:
        name = f"{self._architecture}.{key}"
        return name, self._metadata.get(name, default)

    def integer(self, key: str, default: int | None = None) -> int:
        name, value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
            raise LoadError(f"GGUF: {name} is missing or no usable number ({value!r})")
        if value == 0 and default is None:
            raise LoadError(f"GGUF: {name} is 0")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        name, value = self._get(key, default)
        if not isinstance(value, int | float) or not 0 < value < 1e12:
            raise LoadError(f"GGUF: {name} is missing or no usable number ({value!r})")
        return float(value)

    def text(self, key: str, default: str) -> str:
        name, value = self._get(key, default)
        if not isinstance(value, str):
            raise LoadError(f"GGUF: {name} is no text")
        return value
