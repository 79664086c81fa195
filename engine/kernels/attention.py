"""Decode attention over ragged rows, from the fused projection to the mixed values.

One kernel rotates the new query and key, writes the new key and value into the row's slot,
and attends over the row's own length. The slot is written in place: MLX only reuses a
buffer for its successor when nothing else holds it, and with a step of lookahead something
always does, so every step would copy all KV memory. Writing in place is safe here because
steps run in order on one stream, each step is reached by its data from the one before, and
no step reads a position that a step in flight has yet to write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from .cuda import kernel, scalar

# One warp reads several keys at once, LANES lanes each; every lane keeps its slice of all
# queries of the KV head's group in registers, so a key is read once for the whole group.
# Online softmax in base 2 as in FlashAttention (Dao et al., 2022); splits over keys are
# merged by a second kernel as in Flash-Decoding (Dao et al., 2023).
_BODY = r"""
constexpr int E = D / LANES;
constexpr int KEYS = 32 / LANES;
constexpr int UNROLL = 2;
constexpr int THREADS = WARPS * 32;
const int split = blockIdx.x, head = blockIdx.y, row = blockIdx.z, splits = gridDim.x;
const int heads = keys_shape[1], capacity = keys_shape[2];
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
const int slot = lane / LANES, part = lane % LANES;
const int length = offset[row];
const T* fused = qkv + (size_t)row * heads * (G + 2) * D;

// The group's queries and the new key, normed and rotated, as the cache would hold them.
__shared__ float turned[G + 1][D];
for (int vector = warp; vector <= G; vector += WARPS) {
  const bool is_key = vector == G;
  const T* from = fused + (is_key ? heads * G + head : head * G + vector) * D;
  float factor = 1.f;
  if constexpr (NORM) {
    float squares = 0.f;
    for (int d = lane; d < D; d += 32) { const float x = from[d]; squares += x * x; }
    factor = rsqrtf(warp_sum(squares) / D + epsilon[0]);
  }
  for (int i = lane; i < D / 2; i += 32) {
    const int a = TRADITIONAL ? 2 * i : i, b = TRADITIONAL ? 2 * i + 1 : i + D / 2;
    float x = from[a], y = from[b];
    if constexpr (NORM) {
      const float wa = is_key ? k_weight[a] : q_weight[a], wb = is_key ? k_weight[b] : q_weight[b];
      x = static_cast<float>(static_cast<T>(x * factor * wa));
      y = static_cast<float>(static_cast<T>(y * factor * wb));
    }
    float sine, cosine;
    sincosf(length * frequencies[i], &sine, &cosine);
    turned[vector][a] = static_cast<float>(static_cast<T>(x * cosine - y * sine));
    turned[vector][b] = static_cast<float>(static_cast<T>(x * sine + y * cosine));
  }
}
__syncthreads();
const T* fresh = fused + (heads * (G + 1) + head) * D;
const size_t base = ((size_t)row * heads + head) * capacity * D;
if (split == splits - 1) {
  T* key_slot = const_cast<T*>(keys) + base + (size_t)length * D;
  T* value_slot = const_cast<T*>(values) + base + (size_t)length * D;
  for (int d = threadIdx.x; d < D; d += THREADS) {
    key_slot[d] = static_cast<T>(turned[G][d]);
    value_slot[d] = fresh[d];
  }
}

float query[G][E], sum[G][E], top[G], mass[G];
#pragma unroll
for (int g = 0; g < G; g++) {
  #pragma unroll
  for (int e = 0; e < E; e++) {
    query[g][e] = turned[g][part * E + e] * scale[0];
    sum[g][e] = 0.f;
  }
  top[g] = -INFINITY; mass[g] = 0.f;
}
auto take = [&](const float* key, const float* value, bool valid) {
  #pragma unroll
  for (int g = 0; g < G; g++) {
    float dot = 0.f;
    #pragma unroll
    for (int e = 0; e < E; e++) dot += query[g][e] * key[e];
    #pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) dot += __shfl_xor_sync(0xffffffffu, dot, step);
    if (valid) {
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
      for (int e = 0; e < E; e++) sum[g][e] += weight * value[e];
    }
  }
};
const int share = (length + splits - 1) / splits;
const int start = split * share, end = min(length, start + share);
for (int first = start + warp * KEYS; first < end; first += WARPS * KEYS * UNROLL) {
  float key[UNROLL][E], value[UNROLL][E];
  bool valid[UNROLL];
  #pragma unroll
  for (int u = 0; u < UNROLL; u++) {
    const int place = first + u * WARPS * KEYS + slot;
    valid[u] = place < end;
    const size_t at = base + (size_t)(valid[u] ? place : start) * D + part * E;
    #pragma unroll
    for (int e = 0; e < E; e += 8) load8(keys + at + e, key[u] + e);
    #pragma unroll
    for (int e = 0; e < E; e += 8) load8(values + at + e, value[u] + e);
  }
  #pragma unroll
  for (int u = 0; u < UNROLL; u++) take(key[u], value[u], valid[u]);
}
if (split == splits - 1 && warp == 0) {
  float key[E], value[E];
  #pragma unroll
  for (int e = 0; e < E; e++) {
    key[e] = turned[G][part * E + e];
    value[e] = fresh[part * E + e];
  }
  take(key, value, slot == 0);
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
for (int place = threadIdx.x; place < G * D; place += THREADS) {
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
    out[target * D + d] = static_cast<T>(weighted / total);
  }
}
"""
_WHOLE = "constexpr bool SPLIT = false;\nfloat *sums = nullptr, *marks = nullptr;\n" + _BODY
_SPLIT = "constexpr bool SPLIT = true;\nT* out = nullptr;\n" + _BODY

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
out[target * D + d] = static_cast<T>(weighted / total);
"""

_WARPS = 4
# Four blocks for each of the 132 multiprocessors of an H100 or H200.
_BLOCKS_WANTED = 132 * 4
_KEYS_PER_SPLIT = 128
_LOG2_E = 1.4426950408889634


@dataclass(frozen=True, slots=True)
class Rotation:
    """How queries and keys are prepared.

    ``frequencies``: radians per position, (dim / 2,) f32; ``traditional``: pairs are
    neighbours, not halves; ``norms``: per-head RMS norm weights of queries and keys, (dim,)
    each, and their epsilon.
    """

    frequencies: mx.array
    traditional: bool
    norms: tuple[mx.array, mx.array, float] | None = None


def lanes(head_dim: int, group: int) -> int | None:
    """Lanes that share a key, or None for shapes the kernel does not take."""
    for count in (8, 16):
        part = head_dim // count
        if head_dim % count == 0 and part % 8 == 0 and part * group <= 64:
            return count
    return None


def attend(
    qkv: mx.array,
    keys: mx.array,
    values: mx.array,
    offset: mx.array,
    rotation: Rotation,
    scale: float,
    longest: int,
) -> mx.array:
    """Attention of one new position per row; shape (rows, 1, heads * dim).

    ``qkv`` (rows, 1, (heads + 2 kv_heads) dim) is the fused projection's output. ``keys`` and
    ``values`` (slots >= rows, kv_heads, capacity, dim) hold ``offset`` (rows,) int32
    positions of each row and are written in place at the next one. ``longest``: an upper
    bound of the offsets that the host knows.
    """
    rows, _, width = qkv.shape
    kv_heads, dim = keys.shape[1], keys.shape[3]
    heads = width // dim - 2 * kv_heads
    group = heads // kv_heads
    count = lanes(dim, group)
    if count is None:
        raise ValueError(f"no kernel for heads of {dim} in groups of {group}; ask lanes() first")
    splits = max(1, min(-(-_BLOCKS_WANTED // (rows * kv_heads)), -(-longest // _KEYS_PER_SPLIT)))
    q_weight, k_weight, epsilon = rotation.norms or (qkv, qkv, 0.0)
    inputs = [
        qkv, keys, values, offset, rotation.frequencies, q_weight, k_weight,
        scalar(epsilon), scalar(scale * _LOG2_E),
    ]  # fmt: skip
    names = (
        "qkv", "keys", "values", "offset", "frequencies", "q_weight", "k_weight",
        "epsilon", "scale",
    )  # fmt: skip
    common: dict[str, Any] = {
        "inputs": inputs,
        "template": [
            ("T", qkv.dtype),
            ("D", dim),
            ("G", group),
            ("LANES", count),
            ("WARPS", _WARPS),
            ("TRADITIONAL", rotation.traditional),
            ("NORM", rotation.norms is not None),
        ],
        "grid": (splits * _WARPS * 32, kv_heads, rows),
        "threadgroup": (_WARPS * 32, 1, 1),
    }
    shape = (rows, 1, heads * dim)
    if splits == 1:
        whole = kernel("attention", names, ("out",), _WHOLE)
        out: mx.array = whole(output_shapes=[shape], output_dtypes=[qkv.dtype], **common)[0]
        return out
    split = kernel("attention_split", names, ("sums", "marks"), _SPLIT)
    sums, marks = split(
        output_shapes=[(rows, heads, splits, dim), (rows, heads, splits, 2)],
        output_dtypes=[mx.float32, mx.float32],
        **common,
    )
    combined: mx.array = kernel("attention_combine", ("sums", "marks"), ("out",), _COMBINE)(
        inputs=[sums, marks],
        template=[("T", qkv.dtype), ("D", dim)],
        grid=(dim, rows * heads, 1),
        threadgroup=(dim, 1, 1),
        output_shapes=[shape],
        output_dtypes=[qkv.dtype],
    )[0]
    return combined
