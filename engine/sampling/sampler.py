"""Draws the next token of every row in one go.

The order is the schema's: bias, penalties, constraint, temperature, top_k, top_p, min_p,
draw. Each stage runs only when a row needs it, and only on the rows that do: a greedy
batch costs one argmax. The draw is Gumbel-max with noise keyed by the row's own seed and
position (see ``seeds``), so a row's tokens do not depend on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Rows
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from .. import kernels
from ..kernels.draw import draw
from ..sequence import Sequence
from . import nucleus, seeds
from .penalties import Penalties

_BLOCKED = -math.inf


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Of the rows that asked: their places, chosen (n,), likeliest ids and values (n, k)."""

    rows: tuple[int, ...]
    chosen: mx.array
    top_ids: mx.array
    top_values: mx.array

    @property
    def arrays(self) -> tuple[mx.array, ...]:
        """What to evaluate."""
        return self.chosen, self.top_ids, self.top_values


@dataclass(frozen=True, slots=True)
class Sampled:
    """A step's tokens, shape (width,), uint32, and log probabilities when asked for."""

    tokens: mx.array
    logprobs: Logprobs | None = None

    @property
    def arrays(self) -> tuple[mx.array, ...]:
        """What to evaluate."""
        return (self.tokens, *(self.logprobs.arrays if self.logprobs else ()))


class Sampler:
    """The parameters of a batch's rows, as device arrays.

    ``arrange`` makes them anew from the sequences whenever rows change, so nothing of a row
    that left can reach the one that took its place.
    """

    def __init__(self, vocab: int) -> None:
        self.vocab = vocab
        self.penalties = Penalties(vocab)
        self._sequences: list[Sequence] = []

    def arrange(self, batch: list[Sequence]) -> None:
        """Take ``batch`` as the rows, in order."""
        self._sequences = list(batch)
        self.penalties.arrange(batch)
        self._arrange_bias(batch)
        drawn = [(row, s.sampling) for row, s in enumerate(batch) if not s.sampling.greedy]
        self._drawn = [row for row, _ in drawn]
        self._drawn_rows = mx.array(self._drawn, mx.int32)
        self._seeds = [p.seed for _, p in drawn]
        self._temperature = mx.array([[1.0 / p.temperature] for _, p in drawn])
        self._filter = nucleus.Filter.of([p for _, p in drawn], self.vocab)
        if kernels.available():
            self._settings = nucleus.settings([p for _, p in drawn], self.vocab)
        self._reported = tuple(
            row for row, s in enumerate(batch) if s.sampling.logprobs is not None
        )
        self._alternatives = max((s.sampling.logprobs or 0 for s in batch), default=0)
        self._minimums = any(s.min_tokens > s.launched for s in batch)
        self._constrained = [row for row, s in enumerate(batch) if s.grammar is not None]

    @property
    def constrained(self) -> list[int]:
        """Rows that have a grammar."""
        return self._constrained

    def sample(
        self,
        logits: mx.array,
        inputs: mx.array,
        masks: NDArray[np.uint32] | None = None,
        forced: dict[int, int] | None = None,
    ) -> Sampled:
        """Tokens for ``logits`` of shape (width, vocab); the step's ``inputs`` are (width,).

        ``masks`` are bit masks of the constrained rows, shape (n, ceil(vocab / 32)), bit set =
        allowed. ``forced`` maps rows to tokens they take whatever the logits say.
        """
        x = self._adjust(logits, inputs)
        if masks is not None:
            x = self._constrain(x, masks)
        tokens = mx.argmax(x, axis=-1).astype(mx.uint32)
        if self._drawn:
            tokens = self._draw(x, tokens)
        if forced:
            rows = mx.array(list(forced))
            tokens[rows] = mx.array(list(forced.values()), mx.uint32)
        return Sampled(tokens, self._logprobs(x, tokens) if self._reported else None)

    def _adjust(self, logits: mx.array, inputs: mx.array) -> mx.array:
        x = logits
        if self._biased is not None:
            rows, ids, values = self._biased
            x = x.astype(mx.float32).at[rows, ids].add(values)
        if self.penalties.active:
            x = self.penalties.apply(x.astype(mx.float32), inputs)
        if self._minimums:
            x = self._block_ends(x.astype(mx.float32))
        return x

    def _arrange_bias(self, batch: list[Sequence]) -> None:
        entries = [
            (row, token, value)
            for row, s in enumerate(batch)
            for token, value in s.sampling.logit_bias
        ]
        self._biased: tuple[mx.array, mx.array, mx.array] | None = None
        if entries:
            rows, ids, values = zip(*entries, strict=True)
            self._biased = (mx.array(rows), mx.array(ids), mx.array(values, mx.float32))

    def _block_ends(self, x: mx.array) -> mx.array:
        pairs = [
            (row, token)
            for row, s in enumerate(self._sequences)
            if s.launched < s.min_tokens
            for token in sorted(s.end_ids | s.stop_ids)
        ]
        if not pairs:
            self._minimums = False
            return x
        rows, ids = zip(*pairs, strict=True)
        x[mx.array(rows), mx.array(ids)] = _BLOCKED
        return x

    def _constrain(self, x: mx.array, masks: NDArray[np.uint32]) -> mx.array:
        bits = mx.array(masks.view(np.uint8))[:, :, None]
        allowed = ((bits >> mx.arange(8, dtype=mx.uint8)) & 1).reshape(masks.shape[0], -1)
        rows = mx.array(self._constrained)
        allowed = allowed[:, : self.vocab].astype(mx.bool_)
        if len(self._constrained) == x.shape[0]:
            return mx.where(allowed, x, _BLOCKED)
        x[rows] = mx.where(allowed, x[rows], _BLOCKED)
        return x

    def _draw(self, x: mx.array, tokens: mx.array) -> mx.array:
        positions = [self._sequences[row].launched for row in self._drawn]
        keys = mx.array(seeds.keys(self._seeds, positions))
        everyone = len(self._drawn) == x.shape[0]
        if kernels.available():
            drawn = draw(x, self._drawn_rows, self._settings, keys)
        else:
            drawn = self._draw_portably(x if everyone else x[self._drawn_rows], keys)
        if everyone:
            return drawn
        tokens[self._drawn_rows] = drawn
        return tokens

    def _draw_portably(self, x: mx.array, keys: mx.array) -> mx.array:
        """What ``kernels.draw`` does, in MLX operations."""
        logits = x.astype(mx.float32) * self._temperature
        if self._filter is not None:
            logits = self._filter.apply(logits)
        return mx.argmax(logits + _gumbel(keys, self.vocab), axis=-1).astype(mx.uint32)

    def _logprobs(self, x: mx.array, tokens: mx.array) -> Logprobs:
        rows = mx.array(self._reported)
        logits = x[rows].astype(mx.float32)
        logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        chosen = mx.take_along_axis(logprobs, tokens[rows][:, None].astype(mx.int32), axis=-1)
        count = min(self._alternatives, self.vocab)
        if count:
            ids = mx.argpartition(-logprobs, kth=count - 1, axis=-1)[:, :count]
            values = mx.take_along_axis(logprobs, ids, axis=-1)
        else:
            ids = mx.zeros((len(self._reported), 0), mx.uint32)
            values = mx.zeros((len(self._reported), 0))
        return Logprobs(self._reported, chosen[:, 0], ids, values)


def _gumbel(keys: mx.array, vocab: int) -> mx.array:
    """Standard Gumbel noise, shape (rows, vocab), each row from its own key."""

    def row(key: mx.array) -> mx.array:
        return mx.random.gumbel(shape=(vocab,), key=key)

    noise: mx.array = mx.vmap(row)(keys)
    return noise


def top_alternatives(
    ids: Rows[int], values: Rows[float], count: int
) -> tuple[tuple[int, float], ...]:
    """The ``count`` likeliest of an unordered list, best first."""
    pairs = sorted(zip(ids, values, strict=True), key=lambda pair: -pair[1])
    return tuple((int(token), float(value)) for token, value in pairs[:count])
