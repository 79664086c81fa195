"""Products of a few rows with a large matrix, at the speed of reading the matrix.

A decode step of up to 32 rows reads each weight once and does little with it. Tiles of a
general product are too large to keep all multiprocessors reading; here every block takes a
few rows of the matrix, its warps split the inner dimension, and each weight goes straight
from memory to the registers of a tensor-core instruction (mma.m16n8k16). The order of the
inner dimension within an instruction does not matter as long as both operands agree on it,
so every lane loads 16 bytes in a row of both.
"""

from __future__ import annotations

import mlx.core as mx

from .cuda import kernel

_BODY = r"""
constexpr int SLICE = K / WARPS, STEPS = SLICE / 32;
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, q = lane % 4;
const int rows = x_shape[0];
const size_t first = (size_t)blockIdx.x * RT * 16;
const T* w = weight + (first + g) * K + warp * SLICE + q * 8;
const T* from = x + (size_t)g * K + warp * SLICE + q * 8;

float acc[RT][MT][4];
#pragma unroll
for (int r = 0; r < RT; r++)
  #pragma unroll
  for (int j = 0; j < MT; j++)
    #pragma unroll
    for (int i = 0; i < 4; i++) acc[r][j][i] = 0.f;

auto stream = [](const T* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
  return v;
};
auto multiply = [](float* c, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
};
uint4 held[DEPTH][RT][2];
#pragma unroll
for (int d = 0; d < DEPTH; d++)
  #pragma unroll
  for (int r = 0; r < RT; r++)
    #pragma unroll
    for (int h = 0; h < 2; h++) held[d][r][h] = stream(w + (size_t)(r * 16 + h * 8) * K + d * 32);

for (int base = 0; base < STEPS; base += DEPTH) {
  #pragma unroll
  for (int d = 0; d < DEPTH; d++) {
    const int step = base + d;
    uint4 b[MT];
    #pragma unroll
    for (int j = 0; j < MT; j++) {
      b[j] = make_uint4(0, 0, 0, 0);
      if (j * 8 + g < rows)
        b[j] = __ldg(reinterpret_cast<const uint4*>(from + (size_t)j * 8 * K + step * 32));
    }
    #pragma unroll
    for (int r = 0; r < RT; r++) {
      const uint4 low = held[d][r][0], high = held[d][r][1];
      if (step + DEPTH < STEPS) {
        held[d][r][0] = stream(w + (size_t)(r * 16) * K + (step + DEPTH) * 32);
        held[d][r][1] = stream(w + (size_t)(r * 16 + 8) * K + (step + DEPTH) * 32);
      }
      #pragma unroll
      for (int j = 0; j < MT; j++) {
        multiply(acc[r][j], low.x, high.x, low.y, high.y, b[j].x, b[j].y);
        multiply(acc[r][j], low.z, high.z, low.w, high.w, b[j].z, b[j].w);
      }
    }
  }
}

// Add the warps' slices, halving the number of warps each time.
__shared__ float partial[WARPS / 2][RT * MT * 4][32];
#pragma unroll
for (int half = WARPS / 2; half > 0; half /= 2) {
  __syncthreads();
  if (warp >= half && warp < 2 * half) {
    #pragma unroll
    for (int r = 0; r < RT; r++)
      #pragma unroll
      for (int j = 0; j < MT; j++)
        #pragma unroll
        for (int i = 0; i < 4; i++) partial[warp - half][(r * MT + j) * 4 + i][lane] = acc[r][j][i];
  }
  __syncthreads();
  if (warp < half) {
    #pragma unroll
    for (int r = 0; r < RT; r++)
      #pragma unroll
      for (int j = 0; j < MT; j++)
        #pragma unroll
        for (int i = 0; i < 4; i++) acc[r][j][i] += partial[warp][(r * MT + j) * 4 + i][lane];
  }
}
if (warp == 0) {
  #pragma unroll
  for (int r = 0; r < RT; r++)
    #pragma unroll
    for (int j = 0; j < MT; j++)
      #pragma unroll
      for (int i = 0; i < 4; i++) {
        const int row = j * 8 + 2 * q + (i & 1);
        const size_t column = first + r * 16 + g + (i >> 1) * 8;
        if (row < rows) {
          float total = acc[r][j][i];
          if constexpr (BIAS) total += static_cast<float>(bias[column]);
          out[row * (size_t)N + column] = static_cast<T>(total);
        }
      }
}
"""
_WARPS = 8
_LARGEST = 32


def serves(rows: int, weight: mx.array) -> bool:
    """Whether the kernel takes this product."""
    outer, inner = weight.shape
    return (
        1 < rows <= _LARGEST
        and weight.dtype == mx.bfloat16
        and outer % 64 == 0
        and inner % (32 * _WARPS * 2) == 0
    )


def product(x: mx.array, weight: mx.array, bias: mx.array | None = None) -> mx.array:
    """``x @ weight.T + bias``: (rows, 1, inner) and (outer, inner) give (rows, 1, outer)."""
    rows = x.shape[0]
    outer, inner = weight.shape
    tiles = 4 if outer >= 16384 else 2
    out: mx.array = kernel("product", ("x", "weight", "bias"), ("out",), _BODY)(
        inputs=[x, weight, weight if bias is None else bias],
        template=[
            ("T", x.dtype),
            ("N", outer),
            ("K", inner),
            ("RT", tiles),
            ("MT", -(-rows // 8)),
            ("WARPS", _WARPS),
            ("DEPTH", 2 if tiles == 4 else 4 if (inner // _WARPS // 32) % 4 == 0 else 2),
            ("BIAS", bias is not None),
        ],
        grid=(outer // (16 * tiles) * _WARPS * 32, 1, 1),
        threadgroup=(_WARPS * 32, 1, 1),
        output_shapes=[(rows, 1, outer)],
        output_dtypes=[x.dtype],
    )[0]
    return out
