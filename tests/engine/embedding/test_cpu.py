"""The CPU's own GELU and attention, against MLX's exact ones."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from mlxforge.engine.embedding import cpu


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
    np.testing.assert_allclose(cpu.attention(q, k, v, mask), expected, atol=2e-5)
