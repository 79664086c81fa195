"""What all kernels share: when they can run, how they are made, common device code."""

from __future__ import annotations

from functools import cache
from typing import Any

import mlx.core as mx

HEADER = r"""
template <typename T>
__device__ inline void load8(const T* source, float* target) {
  struct alignas(16) Pack { T items[16 / sizeof(T)]; };
  #pragma unroll
  for (int part = 0; part < 8 * (int)sizeof(T) / 16; part++) {
    Pack pack = reinterpret_cast<const Pack*>(source)[part];
    #pragma unroll
    for (int i = 0; i < (int)(16 / sizeof(T)); i++)
      target[part * (16 / sizeof(T)) + i] = static_cast<float>(pack.items[i]);
  }
}

__device__ inline float warp_sum(float x) {
  #pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

__device__ inline float warp_max(float x) {
  #pragma unroll
  for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}
"""


@cache
def available() -> bool:
    """Whether this MLX runs CUDA kernels."""
    return bool(mx.cuda.is_available()) and mx.default_device().type == mx.DeviceType.gpu


@cache
def kernel(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], source: str) -> Any:
    """A kernel of ours, made once; ``source`` is the body of its function."""
    return mx.fast.cuda_kernel(
        name=f"mlxforge_{name}",
        input_names=list(inputs),
        output_names=list(outputs),
        source=source,
        header=HEADER,
    )


@cache
def scalar(value: float) -> mx.array:
    """A constant on the device, shape (1,)."""
    return mx.array([value], mx.float32)
