"""top_k, top_p and min_p: which tokens of a row may be drawn.

All three keep the tokens at or above a threshold of the row's (tempered) logits, so what
is computed is that threshold, per row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from ..sequence import Sampling


@dataclass(frozen=True, slots=True)
class Filter:
    """Thresholds of a batch's drawn rows; parameters have shape (rows, 1)."""

    top_p: mx.array | None
    top_k: mx.array | None
    log_min_p: mx.array | None
    # Largest top_k when every row has one: what must be sorted; None: everything.
    head: int | None
    vocab: int

    @classmethod
    def of(cls, rows: Sequence[Sampling], vocab: int) -> Filter | None:
        """None when no row is limited."""
        if not any(p.sorts or p.min_p > 0 for p in rows):
            return None
        limits = [p.top_k if 0 < p.top_k < vocab else vocab for p in rows]
        return cls(
            top_p=_column([p.top_p for p in rows]) if any(p.top_p < 1 for p in rows) else None,
            top_k=mx.array(limits)[:, None] if min(limits) < vocab else None,
            log_min_p=(
                _column([math.log(p.min_p) if p.min_p > 0 else -math.inf for p in rows])
                if any(p.min_p > 0 for p in rows)
                else None
            ),
            head=max(limits) if max(limits) < vocab else None,
            vocab=vocab,
        )

    def apply(self, logits: mx.array) -> mx.array:
        """``logits`` (rows, vocab) with -inf where a token may not be drawn."""
        threshold = mx.array(-math.inf)
        if self.top_p is not None or self.top_k is not None:
            threshold = self._sorted_threshold(logits)
        if self.log_min_p is not None:
            floor = mx.max(logits, axis=-1, keepdims=True) + self.log_min_p
            threshold = mx.maximum(threshold, floor)
        return mx.where(logits >= threshold, logits, -math.inf)

    def _sorted_threshold(self, logits: mx.array) -> mx.array:
        """Threshold per row, shape (rows, 1); -inf for rows that are not limited."""
        ordered = _descending(logits, self.head or self.vocab)
        count = ordered.shape[-1]
        last = mx.full((ordered.shape[0], 1), count, mx.int32)
        limited = mx.array(False)
        if self.top_k is not None:
            last = mx.minimum(last, self.top_k)
            limited = self.top_k < self.vocab
        if self.top_p is not None:
            # top_p applies to what top_k left, renormalised, as in vLLM and HF.
            kept = mx.where(mx.arange(count) < last, ordered, -math.inf)
            probabilities = mx.softmax(kept, axis=-1, precise=True)
            before = mx.cumsum(probabilities, axis=-1) - probabilities
            nucleus = mx.sum(before < self.top_p, axis=-1, keepdims=True)
            cut = self.top_p < 1
            last = mx.where(cut, mx.minimum(last, nucleus), last)
            limited = limited | cut
        threshold = mx.take_along_axis(ordered, mx.maximum(last, 1) - 1, axis=-1)
        return mx.where(limited, threshold, -math.inf)


def settings(rows: Sequence[Sampling], vocab: int) -> mx.array:
    """The same limits as ``kernels.draw`` takes them, shape (rows, 4)."""
    return mx.array(
        [
            (
                1.0 / p.temperature,
                p.top_p,
                p.top_k if 0 < p.top_k < vocab else vocab,
                math.log(p.min_p) if p.min_p > 0 else -math.inf,
            )
            for p in rows
        ],
        mx.float32,
    ).reshape(-1, 4)


def _column(values: list[float]) -> mx.array:
    return mx.array(values, mx.float32)[:, None]


def _descending(logits: mx.array, count: int) -> mx.array:
    """The ``count`` largest values of each row, best first."""
    if mx.default_device().type == mx.DeviceType.cpu:
        # NumPy sorts with vector instructions, 30 times faster than MLX's CPU backend, and
        # waiting for the logits costs nothing there: the device is this machine.
        # Not reversed by a slice: MLX refuses its strides, which NumPy keeps for one value.
        return mx.array(-np.sort(-np.array(logits), axis=-1)[:, :count])
    if count < logits.shape[-1] // 2:
        return -mx.sort(-mx.topk(logits, count, axis=-1), axis=-1)
    return -mx.sort(-logits, axis=-1)
