"""Number formats: what a platform computes well, and what parameters take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from ..errors import LoadError
from .progress import Reporter

DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}
# Weights are read and converted in pieces of about this size, so that little is held
# twice and progress is seen.
_PIECE_BYTES = 256 << 20


def dtype_named(name: str | None) -> mx.Dtype | None:
    """MLX's type of that name. Raises ``LoadError`` for others than ``DTYPES``."""
    if name is None:
        return None
    if name not in DTYPES:
        raise LoadError(f"dtype {name!r} is not one of {', '.join(DTYPES)}")
    return DTYPES[name]


def runs_on_cpu() -> bool:
    """Whether MLX computes on the CPU."""
    return bool(mx.default_device().type == mx.DeviceType.cpu)


def dense_dtype(requested: mx.Dtype | None) -> mx.Dtype | None:
    """The type all weights are to become; None: they stay as stored.

    On the CPU quantized, bf16 and f16 matrix products run at 5 GFLOP/s, f32 ones with
    OpenBLAS at 198 (measured on 2 x86-64 cores), so there all weights become f32. On Metal
    and CUDA quantized weights are smaller and faster.
    """
    return requested if requested is not None or not runs_on_cpu() else mx.float32


def parameters(model: nn.Module) -> list[tuple[str, mx.array]]:
    """Names and arrays of all parameters."""
    return cast(list[tuple[str, mx.array]], tree_flatten(model.parameters()))


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters."""
    return sum(array.nbytes for _, array in parameters(model))


def materialize(model: nn.Module, report: Reporter) -> int:
    """Read and convert the weights, piece by piece; returns their bytes."""
    total, done = weight_bytes(model), 0
    for piece in _pieces([array for _, array in parameters(model)]):
        mx.eval(piece)
        done += sum(array.nbytes for array in piece)
        report("weights", done, total)
    return total


def dtype_of(model: nn.Module) -> str:
    """How most of the weights are stored: ``float32``, ``bfloat16``, ``4-bit``, …"""
    bits = [m.bits for _, m in model.named_modules() if hasattr(m, "bits") and "scales" in m]
    if bits:
        return f"{max(set(bits), key=bits.count)}-bit"
    sizes: dict[str, int] = {}
    for _, array in parameters(model):
        name = str(array.dtype).removeprefix("mlx.core.")
        sizes[name] = sizes.get(name, 0) + array.size
    return max(sizes, key=lambda name: sizes[name]) if sizes else ""


def _pieces(arrays: list[mx.array]) -> Iterator[list[mx.array]]:
    piece: list[mx.array] = []
    size = 0
    for array in arrays:
        piece.append(array)
        size += array.nbytes
        if size >= _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def logits_width(model: Any, config: dict[str, Any]) -> int:
    """Width of the logits, by shape inference: a graph is built, nothing is computed."""
    try:
        return int(model(mx.zeros((1, 1), mx.int32)).shape[-1])
    except Exception:  # a model that runs only with its cache
        text = config.get("text_config") or config
        return int(text["vocab_size"])
