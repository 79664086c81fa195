"""top_k, top_p and min_p: which tokens of a row may be drawn.

All three keep the tokens at or above a threshold of the row's (tempered) logits, so what
is computed is that threshold, per row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx

from ..sequence import Sampling

# On CPU a full sort of a large vocabulary costs ten times a partial one, and the likeliest
# few hundred tokens nearly always hold top_p of the mass.
_HEAD = 256


@dataclass(frozen=True, slots=True)
class Filter:
    """Thresholds of a batch's drawn rows; parameters have shape (rows, 1)."""

    top_p: mx.array | None
    top_k: mx.array | None
    log_min_p: mx.array | None
    # Largest top_k when every row has one: the head that must be sorted, else None.
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
        threshold = None
        if self.top_p is not None or self.top_k is not None:
            threshold = self._sorted_threshold(logits)
        if self.log_min_p is not None:
            floor = mx.max(logits, axis=-1, keepdims=True) + self.log_min_p
            threshold = floor if threshold is None else mx.maximum(threshold, floor)
        return mx.where(logits >= threshold, logits, -math.inf)

    def _sorted_threshold(self, logits: mx.array) -> mx.array:
        on_cpu = mx.default_device().type == mx.DeviceType.cpu
        total = mx.logsumexp(logits, axis=-1, keepdims=True)
        if self.head is not None and self.head <= self.vocab // 2:
            return self._threshold(_descending_head(logits, self.head), total)[0]
        if on_cpu and self.top_k is None and self.vocab > 4 * _HEAD:
            threshold, covered = self._threshold(_descending_head(logits, _HEAD), total)
            # Waiting here costs nothing on CPU: the device is this machine.
            if covered is not None and bool(mx.all(covered).item()):
                return threshold
        return self._threshold(-mx.sort(-logits, axis=-1), total)[0]

    def _threshold(self, ordered: mx.array, total: mx.array) -> tuple[mx.array, mx.array | None]:
        """Threshold per row from its likeliest tokens, best first, and whether they suffice."""
        count = ordered.shape[-1]
        last = mx.full((ordered.shape[0], 1), count, mx.int32)
        limited: mx.array | None = None
        covered = None
        if self.top_k is not None:
            last = mx.minimum(last, self.top_k)
            limited = self.top_k < self.vocab
        if self.top_p is not None:
            # top_p applies to what top_k left, renormalised, as in vLLM and HF.
            probabilities = mx.exp(ordered - total)
            if self.top_k is not None:
                probabilities = mx.where(mx.arange(count) < last, probabilities, 0.0)
                probabilities = probabilities / mx.sum(probabilities, axis=-1, keepdims=True)
            before = mx.cumsum(probabilities, axis=-1) - probabilities
            kept = mx.sum(before < self.top_p, axis=-1, keepdims=True)
            cut = self.top_p < 1
            covered = (mx.sum(probabilities, axis=-1, keepdims=True) >= self.top_p) | ~cut
            last = mx.where(cut, mx.minimum(last, kept), last)
            limited = cut if limited is None else limited | cut
        threshold = mx.take_along_axis(ordered, mx.maximum(last, 1) - 1, axis=-1)
        return mx.where(limited, threshold, -math.inf), covered


def _column(values: list[float]) -> mx.array:
    return mx.array(values, mx.float32)[:, None]


def _descending_head(logits: mx.array, count: int) -> mx.array:
    """The ``count`` largest values of each row, best first."""
    if count == 1:
        return mx.max(logits, axis=-1, keepdims=True)
    return -mx.sort(-mx.topk(logits, count, axis=-1), axis=-1)
