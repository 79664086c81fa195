"""The fast runner: slot KV memory under mlx-lm's model classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mlx.core as mx
import numpy as np

from ..kv import ragged
from ..kv.layout import KVLayout
from ..kv.slots import Slots
from ..kv.staging import Staging
from .llama import LlamaForward
from .runner import Midway
from .shapes import GPU_UNIT, PrefillShapes

# Widths a step is computed at on a GPU. Few widths mean few kernels to prepare and results
# that do not change when a neighbour leaves; a row of filler costs next to nothing there.
_GPU_WIDTHS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)


def rounded(length: int) -> int:
    """Positions to allocate for ``length``: by 64 up to 512, then by eighths of its power."""
    if length <= 512:
        return -(-length // 64) * 64
    unit: int = 1 << ((length - 1).bit_length() - 3)
    return -(-length // unit) * unit


class SlotRunner:
    """See ``runner.Runner``. ``model`` maps (tokens, cache) to logits."""

    prefill_rows = 64

    def __init__(self, model: Any, layout: KVLayout, max_model_len: int = 1 << 30) -> None:
        self.model = model
        self.layout = layout
        self.on_gpu = mx.default_device().type == mx.DeviceType.gpu
        self.shapes = PrefillShapes(GPU_UNIT if self.on_gpu else 1, max_model_len)
        kernels = (
            isinstance(model, LlamaForward)
            and model.fits_kernels
            and ragged.serves(layout, model.heads)
        )
        self.slots = ragged.RaggedSlots(layout) if kernels else Slots(layout)
        self._rows = 0
        # Compiled steps by the one thing that is fixed in them besides shapes.
        self._compiled: dict[int, list[Any]] = {}

    @property
    def rows(self) -> int:
        """How many rows run."""
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of the slots."""
        return self.slots.nbytes

    def width(self, rows: int) -> int:
        """See ``Runner.width``."""
        if not self.on_gpu:
            return rows
        for width in _GPU_WIDTHS:
            if rows <= width:
                return width
        return -(-rows // 64) * 64

    def widths(self, most: int) -> list[int]:
        """See ``Runner.widths``."""
        return sorted({self.width(rows) for rows in range(1, most + 1)}) if self.on_gpu else [1]

    def cost(self, rows: int, length: int) -> int:
        """See ``Runner.cost``."""
        return self.width(rows) * rounded(length) * self.layout.token_bytes

    def prefill_cost(self, rows: int, length: int) -> int:
        """See ``Runner.prefill_cost``."""
        return rows * self.shapes.capacity(length) * self.layout.token_bytes

    def holds(self, rows: int, length: int) -> bool:
        """See ``Runner.holds``."""
        return self.width(rows) <= self.slots.capacity and length <= self.slots.positions

    def reserve(self, rows: int, length: int, most: int) -> None:
        """See ``Runner.reserve``; gives memory back when less than a quarter is needed."""
        slots = self.slots
        size = capacity, positions = self.width(rows), rounded(length)
        if capacity * positions * 4 > slots.capacity * slots.positions:
            kept = max(capacity, slots.capacity), max(positions, slots.positions)
            if kept[0] * kept[1] * self.layout.token_bytes <= most:
                size = kept
        if size != (slots.capacity, slots.positions):
            slots.resize(*size, self._rows)

    def open(self, rows: int, length: int) -> Staging:
        """See ``Runner.open``."""
        return Staging(self.layout, rows, self.shapes.capacity(length))

    def advance(self, prefill: Staging, tokens: Sequence[Sequence[int]]) -> None:
        """See ``Runner.advance``."""
        self.model(mx.array([list(row) for row in tokens]), cache=prefill.layers)
        prefill.offset += len(tokens[0])
        mx.async_eval(prefill.arrays)

    def join(self, prefill: Staging | None, sources: Sequence[int], lengths: Sequence[int]) -> None:
        """See ``Runner.join``; the caller has reserved room."""
        if prefill is not None:
            # All are copied to one length, at once: what stands behind a shorter prompt is
            # written over before it is read.
            self.slots.write(self._rows, prefill, sources, max(lengths))
        self._rows += len(sources)

    def decode(self, tokens: mx.array, lengths: Sequence[int], midway: Midway = None) -> mx.array:
        """See ``Runner.decode``."""
        width = tokens.shape[0]
        host = np.zeros(width, np.int32)
        host[: len(lengths)] = lengths
        self.slots.prepare(host, width)
        model, layers = self.model, self.slots.layers
        logits: mx.array
        if not (self._compiles or (midway is not None and isinstance(model, LlamaForward))):
            logits = model(tokens[:, None], cache=layers)
        else:
            halves = self._compiled_halves() if self._compiles else model.halves(layers)
            state = halves[0](tokens[:, None])
            if midway is not None:
                mx.async_eval(state)
                midway()
            logits = halves[1](*state)
        return logits[:, -1]

    @property
    def _compiles(self) -> bool:
        """Whether shapes and ``slots.longest`` alone decide what a step computes.

        So it is with kernels that take whole buffers, write them in place and need no mask.
        """
        return isinstance(self.slots, ragged.RaggedSlots)

    def _compiled_halves(self) -> list[Callable[..., Any]]:
        """The step's halves, without building their operations in Python every time."""
        slots = self.slots
        compiled = self._compiled.get(slots.longest)
        if compiled is None:
            traced = [partial(self._traced, number) for number in range(2)]
            compiled = self._compiled[slots.longest] = [mx.compile(half) for half in traced]
        memory = [(layer.keys, layer.values) for layer in slots.layers]
        return [partial(half, slots.offset, memory) for half in compiled]

    def _traced(
        self,
        number: int,
        offset: mx.array,
        memory: list[tuple[mx.array, mx.array]],
        *state: mx.array,
    ) -> Any:
        """A pure function of its arrays, for ``mx.compile`` to trace."""
        slots = self.slots
        held = slots.offset, [(layer.keys, layer.values) for layer in slots.layers]
        try:
            slots.offset = offset
            slots.point_at(memory)
            return self.model.halves(slots.layers)[number](*state)
        finally:
            slots.offset = held[0]
            slots.point_at(held[1])

    def keep(self, order: Sequence[int]) -> None:
        """See ``Runner.keep``."""
        self.slots.keep(order)
        self._rows = len(order)

    def release(self) -> None:
        """See ``Runner.release``."""
        self._rows = 0
        self._compiled.clear()
        self.slots.release()

    def read(self, row: int, start: int, end: int) -> tuple[mx.array, mx.array]:
        """A running row's positions, each of shape (layers, heads, end - start, dim)."""
        layers = self.slots.layers
        return (
            mx.stack([layer.keys[row, :, start:end] for layer in layers]),
            mx.stack([layer.values[row, :, start:end] for layer in layers]),
        )
