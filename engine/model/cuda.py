"""CUDA kernels of the decode step, compiled at run time by MLX from the sources here.

Small models are bound by launching kernels and all models by reading memory, so each kernel
does in one pass what takes several MLX operations. Every one has a portable counterpart in
``llama`` or ``attention`` that computes the same; the tests on a GPU compare the two. There
is no Metal twin: on Metal, MLX's own operations run (its vector attention takes a bool mask
well), and nothing in this file is imported there.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mlx.core as mx

_HEADER = r"""
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
"""

# One warp reads several keys at once, LANES lanes each; every lane keeps its slice of all
# queries of the KV head's group in registers, so a key is read once for the whole group.
# Online softmax in base 2 as in FlashAttention (Dao et al., 2022); splits over keys are
# merged by a second kernel as in Flash-Decoding (Dao et al., 2023).
_ATTENTION = r"""
constexpr int E = D / LANES;
constexpr int KEYS = 32 / LANES;
constexpr int UNROLL = 2;
const int split = blockIdx.x, head = blockIdx.y, row = blockIdx.z, splits = gridDim.x;
const int heads = keys_shape[1], capacity = keys_shape[2];
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
const int slot = lane / LANES, part = lane % LANES;
const int length = lengths[row];
const int share = (length + splits - 1) / splits;
const int start = split * share, end = min(length, start + share);
const size_t base = ((size_t)row * heads + head) * capacity * D + part * E;

float query[G][E], sum[G][E], top[G], mass[G];
#pragma unroll
for (int g = 0; g < G; g++) {
  const T* from = queries + ((size_t)row * heads * G + head * G + g) * D + part * E;
  #pragma unroll
  for (int e = 0; e < E; e += 8) load8(from + e, query[g] + e);
  #pragma unroll
  for (int e = 0; e < E; e++) { query[g][e] *= scale[0]; sum[g][e] = 0.f; }
  top[g] = -INFINITY; mass[g] = 0.f;
}
for (int first = start + warp * KEYS; first < end; first += WARPS * KEYS * UNROLL) {
  float key[UNROLL][E], value[UNROLL][E];
  bool valid[UNROLL];
  #pragma unroll
  for (int u = 0; u < UNROLL; u++) {
    const int place = first + u * WARPS * KEYS + slot;
    valid[u] = place < end;
    const size_t at = base + (size_t)(valid[u] ? place : start) * D;
    #pragma unroll
    for (int e = 0; e < E; e += 8) { load8(keys + at + e, key[u] + e); }
    #pragma unroll
    for (int e = 0; e < E; e += 8) { load8(values + at + e, value[u] + e); }
  }
  #pragma unroll
  for (int u = 0; u < UNROLL; u++) {
    #pragma unroll
    for (int g = 0; g < G; g++) {
      float dot = 0.f;
      #pragma unroll
      for (int e = 0; e < E; e++) dot += query[g][e] * key[u][e];
      #pragma unroll
      for (int step = LANES / 2; step > 0; step /= 2) dot += __shfl_xor_sync(0xffffffffu, dot, step);
      if (valid[u]) {
        if (dot > top[g]) {
          const float shrink = exp2f(top[g] - dot);
          mass[g] *= shrink;
          #pragma unroll
          for (int e = 0; e < E; e++) sum[g][e] *= shrink;
          top[g] = dot;
        }
        const float weight = exp2f(dot - top[g]);
        mass[g] += weight;
        #pragma unroll
        for (int e = 0; e < E; e++) sum[g][e] += weight * value[u][e];
      }
    }
  }
}
// Merge the warp's slots, then the block's warps.
__shared__ float merged[WARPS][G][D + 2];
#pragma unroll
for (int g = 0; g < G; g++) {
  #pragma unroll
  for (int step = LANES; step < 32; step *= 2) {
    const float other_top = __shfl_xor_sync(0xffffffffu, top[g], step);
    const float other_mass = __shfl_xor_sync(0xffffffffu, mass[g], step);
    const float best = fmaxf(top[g], other_top);
    const float mine = best == -INFINITY ? 0.f : exp2f(top[g] - best);
    const float theirs = best == -INFINITY ? 0.f : exp2f(other_top - best);
    mass[g] = mass[g] * mine + other_mass * theirs;
    #pragma unroll
    for (int e = 0; e < E; e++) {
      const float other = __shfl_xor_sync(0xffffffffu, sum[g][e], step);
      sum[g][e] = sum[g][e] * mine + other * theirs;
    }
    top[g] = best;
  }
  if (slot == 0) {
    #pragma unroll
    for (int e = 0; e < E; e++) merged[warp][g][part * E + e] = sum[g][e];
    if (part == 0) { merged[warp][g][D] = top[g]; merged[warp][g][D + 1] = mass[g]; }
  }
}
__syncthreads();
for (int place = threadIdx.x; place < G * D; place += WARPS * 32) {
  const int g = place / D, d = place % D;
  float best = -INFINITY;
  #pragma unroll
  for (int w = 0; w < WARPS; w++) best = fmaxf(best, merged[w][g][D]);
  float total = 0.f, weighted = 0.f;
  #pragma unroll
  for (int w = 0; w < WARPS; w++) {
    const float share_of = best == -INFINITY ? 0.f : exp2f(merged[w][g][D] - best);
    total += merged[w][g][D + 1] * share_of;
    weighted += merged[w][g][d] * share_of;
  }
  const size_t target = (size_t)row * heads * G + head * G + g;
  if constexpr (SPLIT) {
    sums[(target * splits + split) * D + d] = weighted;
    if (d == 0) {
      marks[(target * splits + split) * 2] = best;
      marks[(target * splits + split) * 2 + 1] = total;
    }
  } else {
    out[target * D + d] = static_cast<T>(total > 0.f ? weighted / total : 0.f);
  }
}
"""

_COMBINE = r"""
const size_t target = blockIdx.y;
const int d = threadIdx.x;
const int splits = sums_shape[2];
float best = -INFINITY;
for (int s = 0; s < splits; s++) best = fmaxf(best, marks[(target * splits + s) * 2]);
float total = 0.f, weighted = 0.f;
for (int s = 0; s < splits; s++) {
  const float top = marks[(target * splits + s) * 2];
  const float part = top == -INFINITY ? 0.f : exp2f(top - best);
  total += marks[(target * splits + s) * 2 + 1] * part;
  weighted += sums[(target * splits + s) * D + d] * part;
}
out[target * D + d] = static_cast<T>(total > 0.f ? weighted / total : 0.f);
"""

# From the fused projection's output to rotated queries and keys, and values, each whole.
_ROTATE = r"""
const int row = blockIdx.y, head = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x % 32;
if (head >= HQ + 2 * HK) return;
const T* from = qkv + ((size_t)row * (HQ + 2 * HK) + head) * D;
T* to = head < HQ ? q + ((size_t)row * HQ + head) * D
      : head < HQ + HK ? k + ((size_t)row * HK + head - HQ) * D
      : v + ((size_t)row * HK + head - HQ - HK) * D;
if (head >= HQ + HK) {
  for (int d = lane; d < D; d += 32) to[d] = from[d];
  return;
}
float factor = 1.f;
if constexpr (NORM) {
  float squares = 0.f;
  for (int d = lane; d < D; d += 32) { const float x = from[d]; squares += x * x; }
  for (int step = 16; step > 0; step /= 2) squares += __shfl_xor_sync(0xffffffffu, squares, step);
  factor = rsqrtf(squares / D + epsilon[0]);
}
const T* weight = head < HQ ? q_weight : k_weight;
const float place = offset[row];
for (int i = lane; i < D / 2; i += 32) {
  const int a = TRADITIONAL ? 2 * i : i, b = TRADITIONAL ? 2 * i + 1 : i + D / 2;
  float x = from[a], y = from[b];
  if constexpr (NORM) {
    x = static_cast<float>(static_cast<T>(x * factor * static_cast<float>(weight[a])));
    y = static_cast<float>(static_cast<T>(y * factor * static_cast<float>(weight[b])));
  }
  float sine, cosine;
  sincosf(place * frequencies[i], &sine, &cosine);
  to[a] = static_cast<T>(x * cosine - y * sine);
  to[b] = static_cast<T>(x * sine + y * cosine);
}
"""

_ADD_NORM = r"""
const int row = blockIdx.y;
const T* x = left + (size_t)row * D;
const T* y = right + (size_t)row * D;
float held[(D + THREADS - 1) / THREADS];
float squares = 0.f;
#pragma unroll
for (int i = 0; i < (D + THREADS - 1) / THREADS; i++) {
  const int d = threadIdx.x + i * THREADS;
  if (d < D) {
    const T added = static_cast<T>(static_cast<float>(x[d]) + static_cast<float>(y[d]));
    sum[(size_t)row * D + d] = added;
    held[i] = added;
    squares += held[i] * held[i];
  }
}
for (int step = 16; step > 0; step /= 2) squares += __shfl_xor_sync(0xffffffffu, squares, step);
__shared__ float parts[32];
if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = squares;
__syncthreads();
squares = 0.f;
#pragma unroll
for (int w = 0; w < THREADS / 32; w++) squares += parts[w];
const float factor = rsqrtf(squares / D + epsilon[0]);
#pragma unroll
for (int i = 0; i < (D + THREADS - 1) / THREADS; i++) {
  const int d = threadIdx.x + i * THREADS;
  if (d < D)
    normed[(size_t)row * D + d] = static_cast<T>(held[i] * factor * static_cast<float>(weight[d]));
}
"""

_SWIGLU = r"""
const size_t place = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * 8;
const int row = blockIdx.y;
if (place >= N) return;
float gate[8], up[8];
load8(both + (size_t)row * 2 * N + place, gate);
load8(both + (size_t)row * 2 * N + N + place, up);
#pragma unroll
for (int i = 0; i < 8; i++)
  out[(size_t)row * N + place + i] = static_cast<T>(gate[i] / (1.f + __expf(-gate[i])) * up[i]);
"""

_WARPS = 4
_BLOCKS_WANTED = 132 * 4  # four blocks for each of an H100's or H200's multiprocessors
_KEYS_PER_SPLIT = 128


@cache
def available() -> bool:
    """Whether this MLX runs CUDA kernels."""
    return bool(mx.cuda.is_available()) and mx.default_device().type == mx.DeviceType.gpu


@cache
def _kernel(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], source: str) -> Any:
    return mx.fast.cuda_kernel(
        name=f"mlxforge_{name}",
        input_names=list(inputs),
        output_names=list(outputs),
        source=source,
        header=_HEADER,
    )


def lanes(head_dim: int, group: int) -> int | None:
    """Lanes that share a key, or None for shapes the attention kernel does not take."""
    for count in (8, 16):
        part = head_dim // count
        if head_dim % count == 0 and part % 8 == 0 and part * group <= 64:
            return count
    return None


def attention(
    queries: mx.array, keys: mx.array, values: mx.array, lengths: mx.array, scale: float, longest: int
) -> mx.array:
    """Decode attention over ragged rows.

    ``queries`` (rows, heads, 1, dim); ``keys`` and ``values`` (slots >= rows, kv_heads,
    capacity, dim), row-contiguous; ``lengths`` (rows,) int32, 1 or more, ``longest`` their
    maximum, known to the host. Returns the shape of ``queries``.
    """
    rows, heads, _, dim = queries.shape
    kv_heads = keys.shape[1]
    group = heads // kv_heads
    count = lanes(dim, group)
    assert count is not None, "the caller asks lanes() first"
    splits = max(1, min(-(-_BLOCKS_WANTED // (rows * kv_heads)), -(-longest // _KEYS_PER_SPLIT)))
    log2e = 1.4426950408889634
    common: dict[str, Any] = {
        "inputs": [queries, keys, values, lengths, _scalar(scale * log2e)],
        "grid": (splits * _WARPS * 32, kv_heads, rows),
        "threadgroup": (_WARPS * 32, 1, 1),
    }
    template = [("T", queries.dtype), ("D", dim), ("G", group), ("LANES", count), ("WARPS", _WARPS)]
    names = ("queries", "keys", "values", "lengths", "scale")
    if splits == 1:
        whole = _kernel("attention", names, ("out",), _ATTENTION_WHOLE)
        return whole(
            template=template,
            output_shapes=[queries.shape],
            output_dtypes=[queries.dtype],
            **common,
        )[0]
    split = _kernel("attention_split", names, ("sums", "marks"), _ATTENTION_SPLIT)
    sums, marks = split(
        template=template,
        output_shapes=[(rows, heads, splits, dim), (rows, heads, splits, 2)],
        output_dtypes=[mx.float32, mx.float32],
        **common,
    )
    combine = _kernel("attention_combine", ("sums", "marks"), ("out",), _COMBINE)
    return combine(
        inputs=[sums, marks],
        template=[("T", queries.dtype), ("D", dim)],
        grid=(dim, rows * heads, 1),
        threadgroup=(dim, 1, 1),
        output_shapes=[queries.shape],
        output_dtypes=[queries.dtype],
    )[0]


_ATTENTION_WHOLE = "constexpr bool SPLIT = false;\nfloat* sums = nullptr;\nfloat* marks = nullptr;\n" + _ATTENTION
_ATTENTION_SPLIT = "constexpr bool SPLIT = true;\nT* out = nullptr;\n" + _ATTENTION


@cache
def _scalar(value: float) -> mx.array:
    return mx.array([value], mx.float32)


def rotate(
    qkv: mx.array,
    offset: mx.array,
    frequencies: mx.array,
    heads: int,
    kv_heads: int,
    *,
    traditional: bool,
    norms: tuple[mx.array, mx.array, float] | None,
) -> tuple[mx.array, mx.array, mx.array]:
    """Queries, keys (rotated) and values, each (rows, heads, 1, dim), of one new position.

    ``qkv`` (rows, 1, (heads + 2 kv_heads) dim); ``offset`` (rows,) int32; ``frequencies``
    (dim / 2,) f32, radians per position; ``norms``: weights of per-head RMS norms of queries
    and keys, (dim,) each, and their epsilon.
    """
    rows = qkv.shape[0]
    dim = qkv.shape[-1] // (heads + 2 * kv_heads)
    q_weight, k_weight, epsilon = norms or (frequencies, frequencies, 0.0)
    kernel = _kernel(
        "rotate" if norms is None else "rotate_normed",
        ("qkv", "offset", "frequencies", "q_weight", "k_weight", "epsilon"),
        ("q", "k", "v"),
        _ROTATE if norms is not None else _ROTATE.replace("T* weight", "float* weight"),
    )
    q, k, v = kernel(
        inputs=[qkv, offset, frequencies, q_weight, k_weight, _scalar(epsilon)],
        template=[
            ("T", qkv.dtype),
            ("D", dim),
            ("HQ", heads),
            ("HK", kv_heads),
            ("TRADITIONAL", traditional),
            ("NORM", norms is not None),
        ],
        grid=(-(-(heads + 2 * kv_heads) // 4) * 128, rows, 1),
        threadgroup=(128, 1, 1),
        output_shapes=[(rows, heads, 1, dim), (rows, kv_heads, 1, dim), (rows, kv_heads, 1, dim)],
        output_dtypes=[qkv.dtype] * 3,
    )
    return q, k, v


def add_norm(
    left: mx.array, right: mx.array, weight: mx.array, epsilon: float
) -> tuple[mx.array, mx.array]:
    """``left + right`` and its RMS norm; arrays of shape (rows, 1, dim)."""
    dim = left.shape[-1]
    threads = 256 if dim > 1024 else 128
    kernel = _kernel(
        "add_norm", ("left", "right", "weight", "epsilon"), ("sum", "normed"), _ADD_NORM
    )
    added, normed = kernel(
        inputs=[left, right, weight, _scalar(epsilon)],
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
    kernel = _kernel("swiglu", ("both",), ("out",), _SWIGLU)
    return kernel(
        inputs=[both],
        template=[("T", both.dtype), ("N", inner)],
        grid=(blocks * 128, both.size // (2 * inner), 1),
        threadgroup=(128, 1, 1),
        output_shapes=[(*both.shape[:-1], inner)],
        output_dtypes=[both.dtype],
    )[0]
