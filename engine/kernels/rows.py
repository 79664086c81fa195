"""Copies of whole rows between KV buffers, in place (see ``attention`` for why)."""

from __future__ import annotations

import mlx.core as mx

from .cuda import kernel

# Each block copies part of one head of one row; rows of the two buffers differ in capacity.
_COPY = r"""
const int head = blockIdx.y, pair = blockIdx.z;
const int heads = to_keys_shape[1];
const int to_capacity = to_keys_shape[2], from_capacity = from_keys_shape[2];
const size_t to = ((size_t)targets[pair] * heads + head) * to_capacity * DIM;
const size_t from = ((size_t)sources[pair] * heads + head) * from_capacity * DIM;
struct alignas(16) Pack { T items[16 / sizeof(T)]; };
const size_t packs = (size_t)length[0] * DIM / (16 / sizeof(T));
Pack* to_k = reinterpret_cast<Pack*>(const_cast<T*>(to_keys) + to);
Pack* to_v = reinterpret_cast<Pack*>(const_cast<T*>(to_values) + to);
const Pack* from_k = reinterpret_cast<const Pack*>(from_keys + from);
const Pack* from_v = reinterpret_cast<const Pack*>(from_values + from);
for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += gridDim.x * blockDim.x) {
  to_k[i] = from_k[i];
  to_v[i] = from_v[i];
}
if (threadIdx.x == 0 && blockIdx.x == 0 && head == 0 && pair == 0) done[0] = 1;
"""


def copy(
    to: tuple[mx.array, mx.array],
    targets: mx.array,
    source: tuple[mx.array, mx.array],
    sources: mx.array,
    length: int,
) -> mx.array:
    """Copy the first ``length`` positions of rows ``sources`` to rows ``targets`` of ``to``.

    Buffers are keys and values of shape (rows, heads, capacity, dim); no target may be a
    source. Evaluate the returned array before anything else uses ``to``.
    """
    heads, dim = to[0].shape[1], to[0].shape[3]
    blocks = max(1, min(16, length * dim // 4096))
    done: mx.array = kernel(
        "copy_rows",
        ("to_keys", "to_values", "from_keys", "from_values", "targets", "sources", "length"),
        ("done",),
        _COPY,
    )(
        inputs=[*to, *source, targets, sources, mx.array([length], mx.int32)],
        template=[("T", to[0].dtype), ("DIM", dim)],
        grid=(blocks * 256, heads, targets.shape[0]),
        threadgroup=(256, 1, 1),
        output_shapes=[(1,)],
        output_dtypes=[mx.int32],
    )[0]
    return done
