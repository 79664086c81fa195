"""What the engine needs of a model: prefill some prompts, step all rows, move rows.

Two runners implement it. ``slots`` is the fast one, for models whose layers all keep plain
keys and values; ``caches`` drives mlx-lm's own batch caches (sliding windows, state-space,
hybrid). Both are used on the MLX thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import mlx.core as mx

from .shapes import PrefillShapes

# What to do while the device works on a part of a step.
Midway: TypeAlias = Callable[[], None] | None


class Prefill(Protocol):
    """Prompts being prefilled together: ``rows`` of them, all at position ``offset``."""

    rows: int
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ...


class Runner(Protocol):
    """A model with the KV memory of its running rows.

    ``Any`` stands for the kind of ``Prefill`` that the runner itself opened.
    """

    # Prompts that one prefill may take together.
    prefill_rows: int
    # What it fills prompts up to, with tokens that are never read.
    shapes: PrefillShapes

    @property
    def rows(self) -> int:
        """How many rows run."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of KV memory held by the running rows."""
        ...

    def cost(self, rows: int, length: int) -> int:
        """Bytes that ``rows`` running rows of up to ``length`` positions would hold."""
        ...

    def prefill_cost(self, rows: int, length: int) -> int:
        """Bytes that a prefill of ``rows`` prompts of up to ``length`` tokens holds."""
        ...

    def holds(self, rows: int, length: int) -> bool:
        """Whether the memory for ``rows`` rows of ``length`` positions is held already."""
        ...

    def reserve(self, rows: int, length: int, most: int) -> None:
        """Hold memory for ``rows`` rows of ``length`` positions; keeps what runs.

        What is held beyond that may stay as long as it is at most ``most`` bytes in all.
        """
        ...

    def open(self, rows: int, length: int) -> Prefill:
        """Start a prefill of ``rows`` prompts of up to ``length`` tokens."""
        ...

    def advance(self, prefill: Any, tokens: Sequence[Sequence[int]]) -> None:
        """Process the next tokens of each prompt, shape (rows, n), without waiting."""
        ...

    def join(self, prefill: Any, sources: Sequence[int], lengths: Sequence[int]) -> None:
        """Append rows copied from rows ``sources``, ``lengths`` positions each.

        ``prefill`` None: they are empty.
        """
        ...

    def decode(self, tokens: mx.array, lengths: Sequence[int], midway: Midway = None) -> mx.array:
        """Logits (width, vocab) after one more token per row, without waiting.

        ``tokens`` has shape (width,), ``lengths`` are the positions in use before. ``width``
        is ``self.width(rows)``; what stands behind the running rows is filler. ``midway`` may
        be called, once, when the device has a part of the step to work on.
        """
        ...

    def width(self, rows: int) -> int:
        """Rows of the arrays that a step of ``rows`` rows computes with."""
        ...

    def widths(self, most: int) -> list[int]:
        """Those of up to ``most`` rows that kernels are chosen for, in ascending order."""
        ...

    def keep(self, order: Sequence[int]) -> None:
        """Make row ``i`` what row ``order[i]`` was and drop the rest."""
        ...

    def release(self) -> None:
        """Give all KV memory back; no row may run."""
        ...
