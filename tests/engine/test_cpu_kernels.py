"""The CPU's own functions against MLX's exact ones."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlxforge.engine.kernels import cpu


def exact_gelu(x: mx.array) -> mx.array:
    return x * (1 + mx.erf(x * 0.5**0.5)) * 0.5


def test_gelu() -> None:
    x = mx.concatenate([mx.linspace(-12, 12, 100_001), mx.array([0.0, 1e-30, 1e20, -1e20, 1e38])])
    difference = mx.abs(cpu.gelu(x) - exact_gelu(x)) / mx.maximum(mx.abs(x), 1)
    assert float(mx.max(difference)) < 1e-6
    assert mx.isfinite(cpu.gelu(x)).all()


# Chunked by rows, by heads, and not at all.
@pytest.mark.parametrize(("batch", "heads", "length"), [(2, 3, 7), (9, 12, 64), (3, 4, 300)])
@pytest.mark.parametrize("masked", ["no", "padding", "local"])
def test_attention(batch: int, heads: int, length: int, masked: str) -> None:
    mx.random.seed(1)
    q, k, v = (mx.random.normal((batch, heads, length, 16)) * 2 for _ in range(3))
    mask = None
    if masked != "no":
        lengths = mx.arange(1, batch + 1) * length // batch
        mask = (mx.arange(length)[None] < lengths[:, None])[:, None, None]
    if masked == "local":
        at = mx.arange(length)
        mask = mx.abs(at[:, None] - at[None])[None, None] <= 5
    expected = mx.fast.scaled_dot_product_attention(q, k, v, scale=0.25, mask=mask)
    np.testing.assert_allclose(cpu.attention(q, k, v, 0.25, mask), expected, atol=2e-5)


def test_silu() -> None:
    x = mx.concatenate([mx.linspace(-30, 30, 100_001), mx.array([0.0, 1e-30, 1e20, -1e20, 1e38])])
    difference = mx.abs(cpu.silu(x) - nn.silu(x)) / mx.maximum(mx.abs(x), 1)
    assert float(mx.max(difference)) < 1e-6
    assert mx.isfinite(cpu.silu(x)).all()


@pytest.mark.parametrize("rows", [1, 7])
def test_swiglu(rows: int) -> None:
    """Few values and many."""
    both = mx.random.normal((rows, 1, 3072), key=mx.random.key(1)) * 3
    gate, up = mx.split(both, 2, axis=-1)
    np.testing.assert_allclose(cpu.swiglu(both), nn.silu(gate) * up, atol=1e-5)


# Few scores; many, as one chunk; chunks of some rows; of some heads of one row.
@pytest.mark.parametrize(("rows", "length"), [(1, 200), (6, 200), (5, 20_000), (2, 70_000)])
@pytest.mark.parametrize(("heads", "kv_heads"), [(9, 3), (4, 4), (8, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_decode_attention(rows: int, length: int, heads: int, kv_heads: int, masked: bool) -> None:
    keys = mx.random.split(mx.random.key(1), 3)
    q = mx.random.normal((rows, heads, 1, 32), key=keys[0]) * 2
    k, v = (mx.random.normal((rows, kv_heads, length, 32), key=key) * 2 for key in keys[1:])
    lengths = (mx.arange(rows) * (length // 5 - 3) % length + 1).reshape(rows, 1, 1, 1)
    mask = mx.arange(length)[None, None, None] < lengths if masked else None
    expected = mx.fast.scaled_dot_product_attention(q, k, v, scale=0.2, mask=mask)
    found = cpu.decode_attention(q, k, v, 0.2, mask)
    # Sums of 70,000 in f32 are off by some 1e-4: both alike, but for the last digits.
    relative = 1e-7 if length == 200 else 1e-5
    np.testing.assert_allclose(found, expected, rtol=relative, atol=2e-5)
