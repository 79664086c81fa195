"""What stands between the matrix products of a layer."""

from __future__ import annotations

import mlx.core as mx

from .cuda import kernel, scalar

_ADD_NORM = r"""
constexpr int COUNT = (D + THREADS - 1) / THREADS;
const size_t start = (size_t)blockIdx.y * D;
float held[COUNT];
float squares = 0.f;
#pragma unroll
for (int i = 0; i < COUNT; i++) {
  const int d = threadIdx.x + i * THREADS;
  if (d < D) {
    const T added = static_cast<T>(
        static_cast<float>(left[start + d]) + static_cast<float>(right[start + d]));
    sum[start + d] = added;
    held[i] = added;
    squares += held[i] * held[i];
  }
}
__shared__ float parts[THREADS / 32];
squares = warp_sum(squares);
if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = squares;
__syncthreads();
squares = 0.f;
#pragma unroll
for (int w = 0; w < THREADS / 32; w++) squares += parts[w];
const float factor = rsqrtf(squares / D + epsilon[0]);
#pragma unroll
for (int i = 0; i < COUNT; i++) {
  const int d = threadIdx.x + i * THREADS;
  if (d < D)
    normed[start + d] = static_cast<T>(held[i] * factor * static_cast<float>(weight[d]));
}
"""

_SWIGLU = r"""
const size_t place = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * 8;
const size_t row = blockIdx.y;
if (place >= N) return;
float gate[8], up[8];
load8(both + row * 2 * N + place, gate);
load8(both + row * 2 * N + N + place, up);
#pragma unroll
for (int i = 0; i < 8; i++)
  out[row * N + place + i] = static_cast<T>(gate[i] / (1.f + __expf(-gate[i])) * up[i]);
"""


def add_norm(
    left: mx.array, right: mx.array, weight: mx.array, epsilon: float
) -> tuple[mx.array, mx.array]:
    """``left + right`` and its RMS norm; arrays of shape (rows, 1, dim)."""
    dim = left.shape[-1]
    threads = 256 if dim > 1024 else 128
    added, normed = kernel(
        "add_norm", ("left", "right", "weight", "epsilon"), ("sum", "normed"), _ADD_NORM
    )(
        inputs=[left, right, weight, scalar(epsilon)],
        template=[("T", left.dtype), ("D", dim), ("THREADS", threads)],
        grid=(threads, left.size // dim, 1),
        threadgroup=(threads, 1, 1),
        output_shapes=[left.shape, left.shape],
        output_dtypes=[left.dtype, left.dtype],
    )
    return added, normed


def swiglu(both: mx.array) -> mx.array:
    """``silu(gate) * up`` of (rows, 1, 2 n) with the gate first; n a multiple of 8."""
    inner = both.shape[-1] // 2
    blocks = -(-inner // (8 * 128))
    out: mx.array = kernel("swiglu", ("both",), ("out",), _SWIGLU)(
        inputs=[both],
        template=[("T", both.dtype), ("N", inner)],
        grid=(blocks * 128, both.size // (2 * inner), 1),
        threadgroup=(128, 1, 1),
        output_shapes=[(*both.shape[:-1], inner)],
        output_dtypes=[both.dtype],
    )[0]
    return out
