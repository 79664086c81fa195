"""Models from GGUF files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ..errors import LoadError
from ..tokenizer.gguf import tokenizer_from_gguf
from .arrays import keeps_quantized, weight_bytes
from .classes import build_model
from .gguf_config import config_from_gguf, parameter_name
from .gguf_header import GgufHeader, read_gguf_header
from .model import LoadedModel, Progress, ProgressCallback

# What MLX reads itself, with the bits of the quantized ones (groups of 32).
_NATIVE_TYPES = {"F32": 0, "F16": 0, "BF16": 0, "Q4_0": 4, "Q4_1": 4, "Q8_0": 8}
_GROUP_SIZE = 32


def load_gguf(
    path: Path, dtype: mx.Dtype | None, progress: ProgressCallback | None
) -> LoadedModel:
    """Load a ``.gguf`` file. Raises ``LoadError``."""
    header = read_gguf_header(path)
    config = config_from_gguf(header)
    tokenizer = tokenizer_from_gguf(header.metadata)
    model = build_model(config)
    weights = _read_weights(path, header, dtype)
    if any(name.endswith(".scales") for name in weights):
        _quantize(model, weights)
    model.load_weights(list(weights.items()))
    mx.eval(model.parameters())
    size = weight_bytes(model)
    if progress is not None:
        progress(Progress("weights", size, size))
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        config=config,
        generation_config={},
        architecture=config["model_type"],
        dtype="float32",
        weight_bytes=size,
        max_model_len=config["max_position_embeddings"],
        vocab_size=config["vocab_size"],
        eos_token_ids=tokenizer.eos_token_ids,
        path=path,
    )


def _read_weights(path: Path, header: GgufHeader, dtype: mx.Dtype | None) -> dict[str, mx.array]:
    """All parameters under mlx-lm's names; quantized triplets where they stay quantized."""
    types = {tensor.type.name for tensor in header.tensors.values()}
    if unknown := types - _NATIVE_TYPES.keys():
        raise LoadError(f"GGUF: storage types {sorted(unknown)} are not supported yet")
    stored: dict[str, Any] = mx.load(str(path))
    weights: dict[str, mx.array] = {}
    for name, tensor in header.tensors.items():
        parameter = parameter_name(name)
        if parameter is None:
            continue
        stem = name.removesuffix(".weight")
        bits = _NATIVE_TYPES[tensor.type.name]
        if not bits:
            weights[parameter] = stored.pop(name).astype(dtype or mx.float32)
            continue
        triplet = [stored.pop(f"{stem}.{part}") for part in ("weight", "scales", "biases")]
        if keeps_quantized(dtype):
            base = parameter.removesuffix(".weight")
            parts = zip(("weight", "scales", "biases"), triplet, strict=True)
            weights.update({f"{base}.{part}": array for part, array in parts})
        else:
            packed, scales, biases = triplet
            dense = mx.dequantize(packed, scales, biases, _GROUP_SIZE, bits)
            weights[parameter] = dense.astype(dtype or mx.float32)
    return weights


def _quantize(model: nn.Module, weights: dict[str, mx.array]) -> None:
    def settings(path: str, module: nn.Module) -> bool | dict[str, Any]:
        if f"{path}.scales" not in weights:
            return False
        packed, scales = weights[f"{path}.weight"], weights[f"{path}.scales"]
        bits = packed.shape[-1] * 32 // (scales.shape[-1] * _GROUP_SIZE)
        return {"group_size": _GROUP_SIZE, "bits": bits}

    nn.quantize(model, class_predicate=settings)
