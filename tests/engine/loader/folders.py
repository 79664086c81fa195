"""Small model folders, as Hugging Face and MLX write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import tokenizers
from mlx.utils import tree_flatten
from tokenizers import decoders, models, pre_tokenizers

from mlxforge.engine.loader.classes import build_model

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 320,  # wider than the tokenizer
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "eos_token_id": 258,
}


def write_tokenizer(folder: Path, **settings: Any) -> None:
    """A byte-level tokenizer: 256 bytes, two special tokens and a mark."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<s>", "</s>", "<|im_end|>"])
    backend.add_tokens(["<think>"])
    backend.save(str(folder / "tokenizer.json"))
    values = {"bos_token": "<s>", "eos_token": "</s>", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))


def write_folder(
    folder: Path, *, bits: int | None = None, dtype: mx.Dtype = mx.float32, **changes: Any
) -> nn.Module:
    """A folder with random weights, quantized when ``bits`` is set; returns its model."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**CONFIG, **changes}
    mx.random.seed(1)
    model = build_model(CONFIG)
    model.set_dtype(dtype)
    if bits is not None:
        config["quantization"] = {"group_size": 32, "bits": bits}
        nn.quantize(model, 32, bits)
    mx.save_safetensors(
        str(folder / "model.safetensors"),
        dict(tree_flatten(model.parameters())),
        {"format": "mlx"},
    )
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    return model
