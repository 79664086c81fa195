"""Slots whose rows are read and written by kernels that know each row's length (CUDA)."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx

from ..kernels import attention, available, rows
from ..kernels.attention import Rotation
from .layout import KVLayout
from .slots import LayerSlots, Slots
from .staging import Staging


def serves(layout: KVLayout, heads: int) -> bool:
    """Whether the kernels take all layers, with ``heads`` query heads, on this device."""
    return available() and all(
        layer.key_dim == layer.value_dim
        and layer.key_heads == layer.value_heads
        and heads % layer.key_heads == 0
        and attention.lanes(layer.key_dim, heads // layer.key_heads) is not None
        for layer in layout.layers
    )


class RaggedLayer(LayerSlots):
    """One layer's slots. Buffers stay the same arrays: steps write them in place."""

    __slots__ = ()

    def attend(self, qkv: mx.array, rotation: Rotation, scale: float) -> mx.array:
        """Take one position per row and attend; see ``kernels.attention.attend``."""
        slots = self.slots
        return attention.attend(
            qkv, self.keys, self.values, slots.offset, rotation, scale, slots.longest
        )


class RaggedSlots(Slots):
    """See ``Slots``; rows are moved in place too."""

    layer_class = RaggedLayer

    def write(self, row: int, staging: Staging, sources: Sequence[int], length: int) -> None:
        """See ``Slots.write``."""
        if not length:
            return
        targets = mx.arange(row, row + len(sources), dtype=mx.int32)
        picked = mx.array(list(sources), mx.int32)
        # Each copy is on its way before the next step is, on the same stream.
        mx.async_eval(
            [
                rows.copy(
                    (layer.keys, layer.values),
                    targets,
                    (source.keys, source.values),
                    picked,
                    length,
                )
                for layer, source in zip(self.layers, staging.layers, strict=True)
            ]
        )

    def keep(self, order: Sequence[int]) -> None:
        """See ``Slots.keep``."""
        moved = [(target, source) for target, source in enumerate(order) if target != source]
        if not moved or not self.view:
            return
        targets = mx.array([target for target, _ in moved], mx.int32)
        sources = mx.array([source for _, source in moved], mx.int32)
        mx.async_eval(
            [
                rows.copy(pair, targets, pair, sources, self.view)
                for pair in ((layer.keys, layer.values) for layer in self.layers)
            ]
        )
