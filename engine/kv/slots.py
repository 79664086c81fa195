"""KV memory of the running rows: one preallocated slot per row, left-aligned.

Row ``i`` of the batch is slot ``i``. Per layer there is one array of keys and one of
values, shape (slots, heads, capacity, head_dim). Each decode step writes one position per
row in place; rows that leave are replaced by the last ones, so that running rows are
always the first slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from .layout import KVLayout
from .staging import Staging


class LayerSlots:
    """One layer's slots, in the form mlx-lm's attention modules expect of a cache."""

    __slots__ = ("keys", "slots", "values")

    def __init__(self, slots: Slots, keys: mx.array, values: mx.array) -> None:
        self.slots = slots
        self.keys = keys
        self.values = values

    @property
    def offset(self) -> mx.array:
        """Positions in use per row before this step, shape (rows,), int32."""
        return self.slots.offset

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Write one position per row; returns what attention reads.

        ``keys`` and ``values`` have shape (rows, heads, 1, head_dim).
        """
        index = self.slots.index
        missing = self.keys.shape[0] - keys.shape[0]
        if missing:
            padding = [(0, missing), (0, 0), (0, 0), (0, 0)]
            keys, values = mx.pad(keys, padding), mx.pad(values, padding)
        self.keys = mx.put_along_axis(self.keys, index, keys, axis=2)
        self.values = mx.put_along_axis(self.values, index, values, axis=2)
        rows, view = self.slots.rows, self.slots.view
        return self.keys[:rows, :, :view], self.values[:rows, :, :view]

    def make_mask(
        self, N: int, return_array: bool = False, window_size: int | None = None
    ) -> mx.array | None:
        """Mask of shape (rows, 1, 1, view), or None when every row may read all of it."""
        return self.slots.mask(return_array, window_size)

    def empty(self) -> bool:
        """Never: rows join with their prompt."""
        return False


class Slots:
    """All layers' slots and where each row stands. Sizes in rows and positions."""

    layer_class: type[LayerSlots] = LayerSlots

    def __init__(self, layout: KVLayout) -> None:
        self.layout = layout
        self.layers: list[LayerSlots] = []
        self.capacity = 0
        self.positions = 0
        self.rows = 0
        self.view = 0
        # The longest row's length, rounded up: what a ragged kernel is divided by.
        self.longest = 0
        self.offset = mx.zeros((0,), mx.int32)
        self.index = mx.zeros((0, 1, 1, 1), mx.int32)
        self.lengths = mx.zeros((0,), mx.int32)
        self._host = np.zeros((0,), np.int32)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.capacity * self.positions * self.layout.token_bytes

    def point_at(self, memory: Sequence[tuple[mx.array, mx.array]]) -> None:
        """Use these keys and values, one pair per layer."""
        for layer, (keys, values) in zip(self.layers, memory, strict=True):
            layer.keys, layer.values = keys, values

    def release(self) -> None:
        """Give all memory back."""
        self.layers = []
        self.capacity = self.positions = self.rows = 0

    def resize(self, capacity: int, positions: int, rows: int) -> None:
        """Change the size, keeping the first ``rows`` rows. One layer is copied at a time."""
        old = self.layers
        kept = min(positions, self.positions)
        self.layers = []
        for number, layer in enumerate(self.layout.layers):
            keys, values = layer.zeros(capacity, positions)
            if rows:
                keys[:rows, :, :kept] = old[number].keys[:rows, :, :kept]
                values[:rows, :, :kept] = old[number].values[:rows, :, :kept]
            mx.eval(keys, values)
            self.layers.append(self.layer_class(self, keys, values))
            if old:
                # Freed before the next is copied; nothing uses the old layer any more.
                old[number].keys = old[number].values = None  # type: ignore[assignment]
        self.capacity, self.positions = capacity, positions

    def write(self, row: int, staging: Staging, sources: Sequence[int], length: int) -> None:
        """Copy rows ``sources`` of a prefill, ``length`` positions each, to ``row`` and on."""
        if not length:
            return
        end = row + len(sources)
        picked = None if list(sources) == list(range(staging.rows)) else mx.array(list(sources))
        for layer, source in zip(self.layers, staging.layers, strict=True):
            keys, values = source.keys[:, :, :length], source.values[:, :, :length]
            if picked is not None:
                keys, values = keys[picked], values[picked]
            layer.keys[row:end, :, :length] = keys
            layer.values[row:end, :, :length] = values

    def keep(self, order: Sequence[int]) -> None:
        """Make row ``i`` what row ``order[i]`` was; ``order[i] >= i`` for all moved rows."""
        moved = [(target, source) for target, source in enumerate(order) if target != source]
        if not moved:
            return
        targets = mx.array([target for target, _ in moved])
        sources = mx.array([source for _, source in moved])
        for layer in self.layers:
            layer.keys[targets] = layer.keys[sources]
            layer.values[targets] = layer.values[sources]

    def prepare(self, lengths: np.ndarray[tuple[int], np.dtype[np.int32]], rows: int) -> None:
        """Set where this step writes: ``lengths`` positions are in use, shape (rows,)."""
        self.rows = rows
        self._host = lengths
        self.view = int(lengths.max()) + 1
        self.longest = 128 << max(0, (self.view - 1) // 128).bit_length()
        self.offset = mx.array(lengths)
        self.lengths = self.offset + 1
        index = lengths
        if self.capacity > rows:
            index = np.concatenate([lengths, np.zeros(self.capacity - rows, np.int32)])
        self.index = mx.array(index.reshape(-1, 1, 1, 1))

    def mask(self, return_array: bool, window: int | None) -> mx.array | None:
        """See ``LayerSlots.make_mask``."""
        if window is None:
            window = self.view
        in_window = self.view <= window
        if in_window and not return_array and int(self._host.min()) + 1 == self.view:
            return None
        places = mx.arange(self.view)[None, None, None]
        lengths = self.lengths[:, None, None, None]
        allowed = places < lengths
        if not in_window:
            allowed = allowed & (places >= lengths - window)
        return allowed
