"""Model configurations, in mlx-lm's terms, from the metadata of GGUF files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import LoadError
from .gguf_header import GgufHeader

ROPE_FACTORS = "rope_freqs.weight"
"""A tensor of Llama 3.1 and later: what each rotary wavelength is multiplied by."""

# GGUF's name of a tensor in a block -> mlx-lm's.
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
_GEMMA3_BLOCK_NAMES = {
    **_BLOCK_NAMES,
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_OUTER_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}


@dataclass(frozen=True, slots=True)
class GgufArchitecture:
    """How a GGUF architecture maps to one of mlx-lm's.

    ``norm_offset``: what llama.cpp added to the weights of norms and mlx-lm adds itself.
    """

    model_type: str
    block_names: Mapping[str, str]
    norm_offset: float = 0.0

    def parameter_name(self, tensor: str) -> str:
        """mlx-lm's name of a tensor. Raises ``LoadError`` for one that has none."""
        stem, _, kind = tensor.rpartition(".")
        if stem in _OUTER_NAMES:
            return f"{_OUTER_NAMES[stem]}.{kind}"
        prefix, _, rest = stem.partition(".")
        block, _, name = rest.partition(".")
        if prefix == "blk" and block.isdecimal() and name in self.block_names:
            return f"model.layers.{int(block)}.{self.block_names[name]}.{kind}"
        raise LoadError(f"GGUF: tensor {tensor!r} is not part of a model of this architecture")


ARCHITECTURES: dict[str, GgufArchitecture] = {
    "llama": GgufArchitecture("llama", _BLOCK_NAMES),
    "qwen2": GgufArchitecture("qwen2", _BLOCK_NAMES),
    "qwen3": GgufArchitecture("qwen3", _BLOCK_NAMES),
    "gemma3": GgufArchitecture("gemma3_text", _GEMMA3_BLOCK_NAMES, norm_offset=1.0),
}


def architecture_of(header: GgufHeader) -> GgufArchitecture:
    """The file's architecture. Raises ``LoadError`` naming one that is not known."""
    name = header.architecture
    if name not in ARCHITECTURES:
        raise LoadError(
            f"GGUF: the architecture {name!r} is not supported (known: "
            f"{', '.join(ARCHITECTURES)}); use the model's safetensors form instead"
        )
    if header.metadata.get(f"{name}.expert_count"):
        raise LoadError(
            f"GGUF: {name!r} with experts is not supported; use the safetensors form instead"
        )
    return ARCHITECTURES[name]


def config_from_gguf(header: GgufHeader) -> dict[str, Any]:
    """The configuration as a ``config.json`` would spell it. Raises ``LoadError``."""
    kind = architecture_of(header)
    values = _Values(header.metadata, header.architecture)
    heads = values.integer("attention.head_count")
    hidden = values.integer("embedding_length")
    layers = values.integer("block_count")
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise LoadError("GGUF: tensor 'token_embd.weight' is missing")
    if layers > len(header.tensors):
        raise LoadError(f"GGUF: {layers} blocks, but {len(header.tensors)} tensors")
    head_dim = values.integer("attention.key_length", 0) or (
        values.integer("rope.dimension_count", 0) or hidden // heads
    )
    config: dict[str, Any] = {
        "model_type": kind.model_type,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
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
    if kind.model_type == "llama":
        # llama.cpp stores Llama's Q and K rows permuted for interleaved rotation.
        config["rope_traditional"] = True
        config["attention_bias"] = "blk.0.attn_q.bias" in header.tensors
    if kind.model_type == "gemma3_text":
        config["sliding_window"] = values.integer("attention.sliding_window")
        # llama.cpp's rule: the 27B, which has 62 blocks, scales by the width of a head's share.
        config["query_pre_attn_scalar"] = hidden // heads if layers == 62 else head_dim
    if scaling := _rope_scaling(values, header):
        config["rope_scaling"] = scaling
    return config


def _rope_scaling(values: _Values, header: GgufHeader) -> dict[str, Any] | None:
    if ROPE_FACTORS in header.tensors:
        # Gives the rotary layers a table of wavelengths, which the file's factors replace.
        return {"rope_type": "llama3", "factor": 1.0}
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
