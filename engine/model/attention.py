"""Attention of a decode step over ragged rows, under mlx-lm's model classes.

An array mask makes MLX's decode attention 4 to 6 times slower on CUDA, so there a kernel of
ours reads each row's length instead (``cuda``). Elsewhere, and for shapes the kernel does
not take, MLX's masked attention is used.
"""

from __future__ import annotations

import sys
from typing import Any

import mlx.core as mx

from ..kv.layout import KVLayout
from ..kv.slots import LayerSlots
from . import cuda


def ragged_available(layout: KVLayout, heads: int) -> bool:
    """Whether the ragged kernel serves all layers, with ``heads`` query heads, here."""
    return cuda.available() and all(
        layer.key_dim == layer.value_dim
        and layer.key_heads == layer.value_heads
        and heads % layer.key_heads == 0
        and cuda.lanes(layer.key_dim, heads // layer.key_heads) is not None
        for layer in layout.layers
    )


def attend(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    cache: Any,
    scale: float,
    mask: mx.array | str | None,
    sinks: mx.array | None = None,
) -> mx.array:
    """What mlx-lm's models call, with the same arguments; see ``install``."""
    ragged = (
        isinstance(cache, LayerSlots)
        and cache.slots.ragged
        and mask is None
        and sinks is None
        and cuda.lanes(queries.shape[-1], queries.shape[1] // keys.shape[1]) is not None
    )
    if ragged:
        slots = cache.slots
        return cuda.attention(queries, keys, values, slots.lengths, scale, slots.longest)
    from mlx_lm.models import base

    return base.scaled_dot_product_attention(queries, keys, values, cache, scale, mask, sinks)


def install() -> None:
    """Have the model classes that are loaded call ``attend``.

    mlx-lm's models import their attention function by name and give it the cache, so putting
    ours in its place in those modules is the one spot where rows can be read by length. It
    hands everything it does not know on to mlx-lm's.
    """
    from mlx_lm.models import base

    original = base.scaled_dot_product_attention
    for name, module in list(sys.modules.items()):
        if name.startswith("mlx_lm.models.") and module is not base:
            if getattr(module, "scaled_dot_product_attention", None) is original:
                module.scaled_dot_product_attention = attend  # type: ignore[attr-defined]
