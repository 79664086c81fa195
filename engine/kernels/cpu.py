"""GELU, SwiGLU and attention for MLX's CPU backend on Linux.

There ``exp`` and ``erf`` go through libm one value at a time (10 and 22 ns each, measured on an
AMD EPYC), while products and sums are vectorised (0.1 ns). So both are written here as a power
of a small polynomial: 2 ns a value. Few values are left to MLX, since each operation takes some
microseconds to begin. Arrays are kept to some megabytes: beyond that glibc gives
each one back to the system, and page faults cost more than the arithmetic.
"""

from __future__ import annotations

import ctypes
import math
import sys

import mlx.core as mx
import mlx.nn as nn

from .. import blas

# Abramowitz and Stegun 7.1.28: erfc(z) = (1 + a1 z + … + a6 z^6)^-16 within 3e-7, for z >= 0.
# With z = x / sqrt(2), and the factor 2 of erfc / 2 inside the power.
_ERFC = (0.0705230784, 0.0422820123, 0.0092705272, 0.0001520143, 0.0002765672, 0.0000430638)
_TAIL = [2.0 ** (1 / 16) * a * 0.5 ** (i / 2) for i, a in enumerate((1.0, *_ERFC))]

# Scores computed at once: 1 MiB.
_CHUNK = 1 << 18
# Values from which a polynomial's twenty operations take less time than libm.
_MANY = 4096


def is_slow_cpu() -> bool:
    """Whether the arrays made now are computed by the backend described above."""
    return sys.platform.startswith("linux") and mx.default_device() == mx.Device(mx.cpu)


def use_one_blas_thread() -> bool:
    """Have OpenBLAS compute each product on one thread, for batches that run side by side.

    For the whole process: only where nothing else computes. False when there is no OpenBLAS.
    """
    name = blas.preload()
    if name is None:
        return False
    library = ctypes.CDLL(name)
    for symbol in ("openblas_set_num_threads", "scipy_openblas_set_num_threads"):
        if hasattr(library, symbol):
            getattr(library, symbol)(1)
            return True
    return False


def gelu(x: mx.array) -> mx.array:
    """``x * Phi(x)`` to 1e-6, as ``max(x, 0) - |x| * (1 - Phi(|x|))``."""
    size = mx.abs(x)
    p = size * _TAIL[6] + _TAIL[5]
    for coefficient in _TAIL[4::-1]:
        p = p * size + coefficient
    for _ in range(4):
        p = mx.square(p)
    out: mx.array = mx.maximum(x, 0) - size / p
    return out


def attention(
    q: mx.array, k: mx.array, v: mx.array, scale: float, mask: mx.array | None
) -> mx.array:
    """Attention of (B, H, M, D) queries to (B, H, L, D) keys, f32.

    ``mask`` is bool, (B or 1, 1, M or 1, L): what a query may see.
    """
    batch, heads, queries, _ = q.shape
    together = max(1, _CHUNK // (queries * k.shape[2]))
    if batch * heads <= together:
        return _attend(q, k, v, scale, mask)
    rows, heads_each = max(1, together // heads), min(heads, together)
    done = []
    for row in range(0, batch, rows):
        at = slice(row, row + rows)
        seen = mask if mask is None or mask.shape[0] == 1 else mask[at]
        parts = [
            _attend(q[at, h : h + heads_each], k[at, h : h + heads_each],
                    v[at, h : h + heads_each], scale, seen)
            for h in range(0, heads, heads_each)
        ]  # fmt: skip
        done.append(parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=1))
    return done[0] if len(done) == 1 else mx.concatenate(done)


def decode_attention(
    q: mx.array, k: mx.array, v: mx.array, scale: float, mask: mx.array | None
) -> mx.array:
    """Attention of one position a row, f32.

    ``q`` is (B, H, 1, D), ``k`` and ``v`` (B, KV heads, L, D), ``mask`` (B, 1, 1, L). The heads
    that share keys are the rows of one product with them; MLX's fallback multiplies each alone.
    """
    batch, heads, _, dim = q.shape
    kv_heads, length = k.shape[1:3]
    grouped = q.reshape(batch, kv_heads, heads // kv_heads, dim)
    if batch * heads * length < _MANY:
        out = mx.fast.scaled_dot_product_attention(grouped, k, v, scale=scale, mask=mask)
    else:
        out = attention(grouped, k, v, scale, mask)
    return out.reshape(q.shape)


def swiglu(both: mx.array) -> mx.array:
    """``silu(gate) * up``, f32, where ``both`` has them side by side in its last dimension."""
    if both.size < 2 * _MANY:
        gate, up = mx.split(both, 2, axis=-1)
        out: mx.array = nn.silu(gate) * up
        return out
    flat = both.reshape(-1, both.shape[-1])
    together = max(1, _CHUNK // both.shape[-1])
    parts = []
    for row in range(0, flat.shape[0], together):
        gate, up = mx.split(flat[row : row + together], 2, axis=-1)
        parts.append(silu(mx.contiguous(gate)) * up)
    whole = parts[0] if len(parts) == 1 else mx.concatenate(parts)
    return whole.reshape(*both.shape[:-1], -1)


def silu(x: mx.array) -> mx.array:
    """``x * sigmoid(x)`` to 1e-6, as ``max(x, 0) - |x| * sigmoid(-|x|)``."""
    size = mx.abs(x)
    out: mx.array = mx.maximum(x, 0) - size / (_exp_of_16_times(size * (1 / 16)) + 1)
    return out


def _attend(q: mx.array, k: mx.array, v: mx.array, scale: float, mask: mx.array | None) -> mx.array:
    scores = (q * (scale / 16)) @ k.swapaxes(-1, -2)
    if mask is not None:
        scores = mx.where(mask, scores, -math.inf)
    below = mx.max(scores, axis=-1, keepdims=True) - scores
    weights = mx.reciprocal(_exp_of_16_times(below))
    return (weights @ v) / weights.sum(axis=-1, keepdims=True)


def _exp_of_16_times(t: mx.array) -> mx.array:
    """exp(16 t) for t >= 0, e^t by its Taylor series: its reciprocal is within 1e-8."""
    p = t * (1 / 720) + 1 / 120
    for coefficient in (1 / 24, 1 / 6, 1 / 2, 1.0, 1.0):
        p = p * t + coefficient
    for _ in range(4):
        p = mx.square(p)
    return p
