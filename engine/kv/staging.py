"""KV memory of prompts while they are prefilled.

Prompts that are prefilled together stand left-aligned in one array per layer, padded on
the right. All rows are at the same position, so a plain causal mask is right: what a
shorter prompt computes behind its end is never read.
"""

from __future__ import annotations

import mlx.core as mx

from .layout import KVLayout


class Position:
    """Where a prefill stands: what its layers share.

    They do not know the whole of it, because a cycle of references would keep its memory
    until Python looks for cycles.
    """

    __slots__ = ("offset",)

    def __init__(self) -> None:
        self.offset = 0


class LayerStaging:
    """One layer's keys and values, in the form mlx-lm's attention modules expect."""

    __slots__ = ("keys", "position", "values")

    def __init__(self, position: Position, keys: mx.array, values: mx.array) -> None:
        self.position = position
        self.keys = keys
        self.values = values

    @property
    def offset(self) -> int:
        """Positions in use before this chunk, the same for all rows."""
        return self.position.offset

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Write a chunk of shape (rows, heads, n, dim); returns all up to its end."""
        start = self.position.offset
        end = start + keys.shape[2]
        self.keys[:, :, start:end] = keys
        self.values[:, :, start:end] = values
        return self.keys[:, :, :end], self.values[:, :, :end]

    def make_mask(
        self, N: int, return_array: bool = False, window_size: int | None = None
    ) -> mx.array | str | None:
        """Causal from the chunk's first position on."""
        start = self.position.offset
        if return_array or (window_size is not None and start + N > window_size):
            queries = mx.arange(start, start + N)[:, None]
            places = mx.arange(start + N)[None]
            mask = queries >= places
            if window_size is not None:
                mask = mask & (queries < places + window_size)
            return mask
        return None if N == 1 else "causal"

    def empty(self) -> bool:
        """Whether nothing is written yet."""
        return self.position.offset == 0


class Staging:
    """All layers of ``rows`` prompts, with room for ``positions`` each."""

    def __init__(self, layout: KVLayout, rows: int, positions: int) -> None:
        self.layout = layout
        self.rows = rows
        self.positions = positions
        self._position = Position()
        self.layers = [
            LayerStaging(self._position, *layer.zeros(rows, positions)) for layer in layout.layers
        ]

    @property
    def offset(self) -> int:
        """Positions that are done, the same for all rows."""
        return self._position.offset

    @offset.setter
    def offset(self, offset: int) -> None:
        self._position.offset = offset

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.rows * self.positions * self.layout.token_bytes

    @property
    def arrays(self) -> list[mx.array]:
        """Everything to evaluate after a chunk."""
        return [array for layer in self.layers for array in (layer.keys, layer.values)]
