"""Pieces that all encoder families share."""

from __future__ import annotations

import math

import mlx.core as mx
import mlx.nn as nn

from ..kernels import cpu


class Module(nn.Module):
    """``nn.Module``, whose own ``__init__`` has no types."""

    def __init__(self) -> None:
        super().__init__()


def padding_mask(lengths: mx.array, width: int) -> mx.array:
    """Keys that attention may see: bool, shape (B, 1, 1, width), from lengths (B,)."""
    return (mx.arange(width)[None] < lengths[:, None])[:, None, None, :]


def attention(q: mx.array, k: mx.array, v: mx.array, mask: mx.array | None) -> mx.array:
    """Bidirectional attention of (B, H, L, D) heads, joined to (B, L, H * D)."""
    batch, heads, length, dim = q.shape
    scale = dim**-0.5
    if q.dtype == mx.float32 and cpu.is_slow_cpu():
        out = cpu.attention(q, k, v, scale, mask)
    else:
        out = mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)
    return out.transpose(0, 2, 1, 3).reshape(batch, length, heads * dim)


def split_heads(qkv: mx.array, heads: int) -> tuple[mx.array, mx.array, mx.array]:
    """Queries, keys and values (B, H, L, D) of a fused projection (B, L, 3 * H * D)."""
    batch, length, width = qkv.shape
    parts = qkv.reshape(batch, length, 3, heads, width // (3 * heads)).transpose(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]


def gelu(x: mx.array) -> mx.array:
    """The exact GELU, ``x * Phi(x)``, one kernel on GPUs.

    MLX's own is compiled at run time, which on Linux CPUs takes a C++ compiler and a second.
    """
    if not cpu.is_slow_cpu():
        return nn.gelu(x)
    if x.dtype == mx.float32:
        return cpu.gelu(x)
    return x * (1 + mx.erf(x * math.sqrt(0.5))) * 0.5


def gelu_tanh(x: mx.array) -> mx.array:
    """GELU's tanh form (Hendrycks and Gimpel 2016, section 2)."""
    return 0.5 * x * (1 + mx.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def relu(x: mx.array) -> mx.array:
    """max(x, 0)."""
    return mx.maximum(x, 0)


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": relu,
}
