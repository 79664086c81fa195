"""Number formats: what a platform computes well, and what parameters take."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten


def runs_on_cpu() -> bool:
    """Whether MLX computes on the CPU."""
    return bool(mx.default_device().type == mx.DeviceType.cpu)


def keeps_quantized(dtype: mx.Dtype | None) -> bool:
    """Whether quantized weights stay so: on a GPU, unless a dtype was asked for.

    On the CPU quantized, bf16 and f16 matrix products run at 5 GFLOP/s, f32 ones with
    OpenBLAS at 198 (measured on 2 x86-64 cores), so there all weights become f32.
    """
    return dtype is None and not runs_on_cpu()


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters."""
    parameters: list[tuple[str, Any]] = tree_flatten(model.parameters())
    return sum(array.nbytes for _, array in parameters)
