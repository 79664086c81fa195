"""A step that was launched and whose tokens are not read yet."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from .reader import RawLogprobs
from .sampling import Sampled
from .sequence import Sequence


@dataclass(frozen=True, slots=True)
class Flight:
    """Row ``i`` is ``rows[i]`` at its epoch. ``sampled`` None: the step only prefilled."""

    rows: list[tuple[Sequence, int]]
    sampled: Sampled | None
    prefilled: int

    def tokens(self) -> list[int]:
        """Wait for the step; one token a row, and what filler rows drew."""
        if self.sampled is None:
            mx.synchronize()
            return []
        found: list[int] = np.array(self.sampled.tokens).tolist()
        return found

    def logprobs(self) -> dict[int, RawLogprobs]:
        """Of the rows that asked for them, by row."""
        reported = self.sampled.logprobs if self.sampled is not None else None
        if reported is None:
            return {}
        chosen = np.array(reported.chosen).tolist()
        ids = np.array(reported.top_ids).tolist()
        values = np.array(reported.top_values).tolist()
        return {
            row: (chosen[place], ids[place], values[place])
            for place, row in enumerate(reported.rows)
        }
