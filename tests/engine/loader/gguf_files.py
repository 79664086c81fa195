"""Small GGUF files with random weights, written by the ``gguf`` package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from tokenizers import pre_tokenizers

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN = 64, 4, 2, 16, 96
# Gemma attends to all positions in every sixth block, to a window in the others.
LAYERS = {"llama": 2, "qwen2": 2, "qwen3": 2, "gemma3": 6}
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def vocabulary() -> list[str]:
    return [*MARKS, *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]


def weights(architecture: str, *, tied: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
    """f32 weights under GGUF's names; matrices of (out, in)."""
    generator = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray:
        spread: float = columns**0.5
        return (generator.standard_normal((rows, columns)) / spread).astype(np.float32)

    def norm(size: int) -> np.ndarray:
        return (1 + 0.1 * generator.standard_normal(size)).astype(np.float32)

    tensors = {
        "token_embd.weight": matrix(len(vocabulary()), HIDDEN),
        "output_norm.weight": norm(HIDDEN),
    }
    if not tied:
        tensors["output.weight"] = matrix(len(vocabulary()), HIDDEN)
    for i in range(LAYERS.get(architecture, 2)):
        block = {
            "attn_norm.weight": norm(HIDDEN),
            "attn_q.weight": matrix(HEADS * HEAD_DIM, HIDDEN),
            "attn_k.weight": matrix(KV_HEADS * HEAD_DIM, HIDDEN),
            "attn_v.weight": matrix(KV_HEADS * HEAD_DIM, HIDDEN),
            "attn_output.weight": matrix(HIDDEN, HEADS * HEAD_DIM),
            "ffn_norm.weight": norm(HIDDEN),
            "ffn_gate.weight": matrix(FFN, HIDDEN),
            "ffn_up.weight": matrix(FFN, HIDDEN),
            "ffn_down.weight": matrix(HIDDEN, FFN),
        }
        if architecture == "qwen2":
            sizes = {"q": HEADS, "k": KV_HEADS, "v": KV_HEADS}
            block |= {f"attn_{n}.bias": norm(s * HEAD_DIM) for n, s in sizes.items()}
        if architecture in ("qwen3", "gemma3"):
            block |= {"attn_q_norm.weight": norm(HEAD_DIM), "attn_k_norm.weight": norm(HEAD_DIM)}
        if architecture == "gemma3":
            block |= {
                n: norm(HIDDEN) for n in ("post_attention_norm.weight", "post_ffw_norm.weight")
            }
        tensors |= {f"blk.{i}.{name}": array for name, array in block.items()}
    return tensors


def write_gguf(
    path: Path,
    architecture: str = "llama",
    *,
    kind: Kind = Kind.F32,
    tensors: dict[str, np.ndarray] | None = None,
    extra: dict[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Write a file with matrices of the type ``kind``; returns what its weights are, as f32."""
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS.get(architecture, 2))
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_key_length(HEAD_DIM)
    if architecture == "gemma3":
        writer.add_sliding_window(8)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary())
    writer.add_token_types([3] * len(MARKS) + [1] * 257)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(2)
    for key, value in (extra or {}).items():
        if isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_string(key, value)
    stored: dict[str, np.ndarray] = {}
    for name, array in (tensors or weights(architecture)).items():
        if array.ndim == 1 or kind is Kind.F32:
            writer.add_tensor(name, array)
            stored[name] = array
        else:
            packed = gguf.quants.quantize(array, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
            stored[name] = gguf.quants.dequantize(packed, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored
