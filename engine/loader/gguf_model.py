"""Models from GGUF files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ..errors import LoadError
from ..tokenizer.gguf import tokenizer_from_gguf
from .arrays import dense_dtype, dtype_of, logits_width, weight_bytes
from .catalog import recommended_sampling
from .classes import build_model
from .gguf_config import ROPE_FACTORS, architecture_of, config_from_gguf
from .gguf_header import GgufHeader, read_gguf_header
from .gguf_weights import GROUP_SIZE, read_tensors
from .model import LoadedModel
from .progress import Reporter


def load_gguf(path: Path, dtype: mx.Dtype | None, report: Reporter) -> LoadedModel:
    """Load a ``.gguf`` file. Raises ``LoadError``."""
    header = read_gguf_header(path)
    config = config_from_gguf(header)
    tokenizer = tokenizer_from_gguf(header.metadata)
    with report.load_errors(path.name):
        model = build_model(config)
        _load_weights(model, config, path, header, dtype, report)
        width = logits_width(model, config)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        config=config,
        generation_config=recommended_sampling(path),
        architecture=config["model_type"],
        dtype=dtype_of(model),
        weight_bytes=weight_bytes(model),
        max_model_len=config["max_position_embeddings"],
        vocab_size=width,
        eos_token_ids=frozenset(i for i in tokenizer.eos_token_ids if i < width),
        path=path,
    )


def _load_weights(
    model: nn.Module,
    config: dict[str, Any],
    path: Path,
    header: GgufHeader,
    dtype: mx.Dtype | None,
    report: Reporter,
) -> None:
    dense = dense_dtype(dtype)
    kind = architecture_of(header)
    weights: dict[str, mx.array] = {}
    tensors = read_tensors(
        path, header, dense or _stored_dtype(header), packed=dense is None, report=report
    )
    for tensor, arrays in tensors:
        if tensor.name == ROPE_FACTORS:
            _scale_rope(model, config["rope_theta"], arrays["weight"])
            continue
        stem, _, suffix = kind.parameter_name(tensor.name).rpartition(".")
        if "norm" in stem:
            arrays = {"weight": arrays["weight"] - kind.norm_offset}
        if suffix == "weight":
            weights.update({f"{stem}.{part}": array for part, array in arrays.items()})
        else:  # a bias, which is never packed
            weights[f"{stem}.{suffix}"] = arrays["weight"]
    weights = model.sanitize(weights) if hasattr(model, "sanitize") else weights
    _quantize(model, weights)
    model.load_weights(list(weights.items()))
    mx.eval(model.parameters())


def _stored_dtype(header: GgufHeader) -> mx.Dtype:
    """The type for what is not quantized, on a GPU.

    f16 where the file itself keeps to it, as MLX's own reader does; bf16 otherwise, because
    models trained in bf16 (Qwen's, Gemma's) have activations beyond f16's range.
    """
    types = {tensor.type.name for tensor in header.tensors.values()}
    return mx.float16 if header.architecture == "llama" and "BF16" not in types else mx.bfloat16


def _quantize(model: nn.Module, weights: dict[str, mx.array]) -> None:
    """Make the layers quantized whose weights are packed."""

    def settings(path: str, module: nn.Module) -> bool | dict[str, Any]:
        if f"{path}.scales" not in weights:
            return False
        packed, scales = weights[f"{path}.weight"], weights[f"{path}.scales"]
        bits = packed.shape[-1] * 32 // (scales.shape[-1] * GROUP_SIZE)
        return {"group_size": GROUP_SIZE, "bits": bits}

    if any(name.endswith(".scales") for name in weights):
        nn.quantize(model, class_predicate=settings)


def _scale_rope(model: nn.Module, base: float, factors: mx.array) -> None:
    """Rotate as llama.cpp does with ``rope_freqs``: each wavelength times its factor."""
    dims = 2 * factors.size
    for _, module in model.named_modules():
        table = getattr(module, "_freqs", None)
        if table is None:
            continue
        if table.shape != factors.shape:
            raise LoadError(f"GGUF: {ROPE_FACTORS} has the shape {factors.shape}")
        module._freqs = base ** (mx.arange(0, dims, 2) / dims) * factors
