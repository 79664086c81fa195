# ruff: noqa: E402 - the kernels are imported where there is an MLX
"""The CUDA kernels beside MLX's own operations. Skipped where MLX has no CUDA device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core")

from mlxforge.engine.kernels import attention, available, draw, layer, rows
from mlxforge.engine.kernels.attention import Rotation

pytestmark = pytest.mark.skipif(not available(), reason="needs MLX's CUDA backend")

TOLERANCE = {mx.float32: 3e-5, mx.bfloat16: 2e-2, mx.float16: 3e-3}


def close(a: Any, b: Any, dtype: Any) -> None:
    error = mx.max(mx.abs(a.astype(mx.float32) - b.astype(mx.float32))).item()
    scale = max(1.0, mx.max(mx.abs(b.astype(mx.float32))).item())
    assert error <= TOLERANCE[dtype] * scale, f"off by {error} at a scale of {scale}"


def rotated(x: Any, offset: Any, traditional: bool, norm: Any) -> Any:
    if norm is not None:
        x = mx.fast.rms_norm(x, norm, 1e-5)
    return mx.fast.rope(
        x, x.shape[-1], traditional=traditional, base=10000.0, scale=1.0, offset=offset
    )


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "dim", "traditional", "normed"),
    [(32, 8, 128, False, False), (9, 3, 64, True, False), (16, 8, 128, False, True),
     (28, 4, 128, False, False)],
)  # fmt: skip
@pytest.mark.parametrize("used", [[0, 1, 2], [5, 64, 700], [33] * 16, [2000]])
def test_attention(
    dtype: Any,
    heads: int,
    kv_heads: int,
    dim: int,
    traditional: bool,
    normed: bool,
    used: list[int],
) -> None:
    count, capacity = len(used), max(used) + 7
    mx.random.seed(1)
    qkv = mx.random.normal((count, 1, (heads + 2 * kv_heads) * dim)).astype(dtype)
    keys = mx.random.normal((count + 2, kv_heads, capacity, dim)).astype(dtype)
    values = mx.random.normal((count + 2, kv_heads, capacity, dim)).astype(dtype)
    weight = mx.random.uniform(0.5, 1.5, (dim,)).astype(dtype)
    mx.eval(keys, values)
    before = np.array(keys.astype(mx.float32)), np.array(values.astype(mx.float32))
    offset = mx.array(used, mx.int32)
    frequencies = mx.exp(-mx.arange(0, dim, 2) / dim * math.log(10000.0))
    norms = (weight, weight, 1e-5) if normed else None
    got = attention.attend(
        qkv, keys, values, offset, Rotation(frequencies, traditional, norms), 1 / math.sqrt(dim),
        max(used),
    )  # fmt: skip
    mx.eval(got)
    # The same, step by step, in f32 from the rounded inputs.
    parts = mx.split(
        qkv.reshape(count, 1, heads + 2 * kv_heads, dim), (heads, heads + kv_heads), axis=2
    )
    q, k, v = (part.transpose(0, 2, 1, 3) for part in parts)
    norm = weight if normed else None
    q, k = rotated(q, offset, traditional, norm), rotated(k, offset, traditional, norm)
    want_keys, want_values = mx.array(before[0]), mx.array(before[1])
    for row, place in enumerate(used):
        want_keys[row, :, place] = k[row, :, 0].astype(mx.float32)
        want_values[row, :, place] = v[row, :, 0].astype(mx.float32)
    if max(used) > 500:  # sines of large angles differ in their last bits
        last_bit = 2.0**-7 if dtype is mx.bfloat16 else 0.0  # of a value, which may be above 2e-2
        off = mx.abs(keys.astype(mx.float32) - want_keys) - last_bit * mx.abs(want_keys)
        assert mx.max(off).item() < 2e-2
        assert mx.max(mx.abs(got.astype(mx.float32)[0, 0, 0])).item() < 1e3
        return
    close(keys, want_keys, dtype)
    close(values, want_values, dtype)
    mask = (mx.arange(capacity)[None] <= offset[:, None])[:, None, None]
    want = mx.fast.scaled_dot_product_attention(
        q.astype(mx.float32), want_keys[:count], want_values[:count],
        scale=1 / math.sqrt(dim), mask=mask,
    )  # fmt: skip
    close(got, want.transpose(0, 2, 1, 3).reshape(got.shape), dtype)


@pytest.mark.parametrize("dim", [576, 4096, 5000])
def test_add_norm(dim: int) -> None:
    mx.random.seed(3)
    x, y = mx.random.normal((7, 1, dim)), mx.random.normal((7, 1, dim))
    weight = mx.random.uniform(0.5, 1.5, (dim,))
    added, normed = layer.add_norm(x, y, weight, 1e-5)
    close(added, x + y, mx.float32)
    close(normed, mx.fast.rms_norm(x + y, weight, 1e-5), mx.float32)


@pytest.mark.parametrize("inner", [512, 1536, 14336])
def test_swiglu(inner: int) -> None:
    mx.random.seed(4)
    both = mx.random.normal((5, 1, 2 * inner))
    gate, up = mx.split(both, 2, axis=-1)
    close(layer.swiglu(both), gate * mx.sigmoid(gate) * up, mx.float32)


def test_copy_rows_in_place() -> None:
    mx.random.seed(5)
    to = tuple(mx.random.normal((6, 2, 40, 64)) for _ in range(2))
    source = tuple(mx.random.normal((3, 2, 24, 64)) for _ in range(2))
    mx.eval(to, source)
    want = [np.array(part) for part in to]
    mx.eval(rows.copy(to, mx.array([4, 1], mx.int32), source, mx.array([0, 2], mx.int32), 17))
    for buffer, held, new in zip(to, want, source, strict=True):
        held[4, :, :17], held[1, :, :17] = np.array(new)[0, :, :17], np.array(new)[2, :, :17]
        assert np.array_equal(np.array(buffer), held)


def drawn(logits: Any, settings: tuple[float, float, float, float], count: int) -> Any:
    """Frequencies of ``count`` draws from one row of logits."""
    vocab = logits.shape[0]
    keys = mx.random.randint(0, 2**31 - 1, (count, 2), key=mx.random.key(9)).astype(mx.uint32)
    keys = keys * 2 + mx.random.randint(0, 2, (count, 2), key=mx.random.key(8)).astype(mx.uint32)
    got = draw.draw(
        logits[None], mx.zeros((count,), mx.int32), mx.array([settings] * count, mx.float32), keys
    )
    return np.bincount(np.array(got), minlength=vocab) / count


def expected(logits: Any, temperature: float, top_p: float, top_k: int, min_p: float) -> Any:
    x = np.array(logits.astype(mx.float32), np.float64) / temperature
    order = np.argsort(-x, kind="stable")
    p = np.exp(x - x.max())
    keep = np.zeros(len(x), bool)
    keep[order[:top_k]] = True
    q = np.where(keep, p, 0) / p[keep].sum()
    before = np.cumsum(q[order]) - q[order]
    keep[order] &= before < top_p
    keep &= p >= min_p
    q = np.where(keep, p, 0)
    return q / q.sum()


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k", "min_p"),
    [(1.0, 1.0, 50, 0.0), (0.7, 0.9, 50, 0.0), (1.5, 0.5, 50, 0.0), (1.0, 1.0, 3, 0.0),
     (0.8, 0.8, 10, 0.0), (1.0, 1.0, 50, 0.2), (1.0, 0.95, 20, 0.05)],
)  # fmt: skip
def test_draw_matches_the_distribution(
    temperature: float, top_p: float, top_k: int, min_p: float
) -> None:
    logits = mx.random.normal((50,), key=mx.random.key(3)) * 2
    log_min_p = math.log(min_p) if min_p else -math.inf
    got = drawn(logits, (1 / temperature, top_p, top_k, log_min_p), 40_000)
    want = expected(logits, temperature, top_p, top_k, min_p)
    assert not got[want == 0].any(), "a token outside the limits was drawn"
    assert np.abs(got - want).max() < 0.012


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_draw_over_a_large_vocabulary(dtype: Any) -> None:
    logits = (mx.random.normal((128_256,), key=mx.random.key(4)) * 3).astype(dtype)
    got = drawn(logits, (1.0, 0.9, 128_256, -math.inf), 4_000)
    want = expected(logits, 1.0, 0.9, 128_256, 0.0)
    if dtype == mx.float32:  # bf16 has ties at the threshold, which are kept
        assert not got[want == 0].any()
    assert abs(got[want > 0].sum() - 1) < 0.01
    likely = np.argsort(-want)[:50]
    assert np.abs(got[likely] - want[likely]).max() < 0.02
    assert drawn(logits, (1.0, 1.0, 1, -math.inf), 8)[int(mx.argmax(logits).item())] == 1
