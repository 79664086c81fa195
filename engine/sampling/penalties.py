"""Penalties on tokens that were seen before, for the rows that ask for them.

How often each token stands in a row's output is counted on the device, because the newest
token is not known to the host yet when the next one is drawn.
"""

from __future__ import annotations

import mlx.core as mx

from ..sequence import Sequence


class Penalties:
    """Counts and strengths of the penalized rows of a batch. ``rows`` are their places."""

    def __init__(self, vocab: int) -> None:
        self.vocab = vocab
        self.sequences: list[Sequence] = []
        self._epochs: list[int] = []
        self.rows = mx.zeros((0,), mx.int32)
        self._counts = mx.zeros((0, vocab), mx.int32)
        self._prompts = mx.zeros((0, vocab), mx.bool_)

    @property
    def active(self) -> bool:
        """Whether any row is penalized."""
        return bool(self.sequences)

    def arrange(self, batch: list[Sequence]) -> None:
        """Follow the batch's new rows; counts of rows that stay move with them."""
        # A row that was put back starts anew: tokens drawn for it meanwhile were dropped.
        before = {
            id(s): place
            for place, (s, epoch) in enumerate(zip(self.sequences, self._epochs, strict=True))
            if s.epoch == epoch
        }
        chosen = [(row, s) for row, s in enumerate(batch) if s.sampling.penalized]
        counts: list[mx.array] = []
        prompts: list[mx.array] = []
        for _, sequence in chosen:
            place = before.get(id(sequence))
            if place is None:
                counts.append(self._histogram(sequence.output[: max(sequence.launched - 1, 0)]))
                prompts.append(self._histogram(sequence.prompt) > 0)
            else:
                counts.append(self._counts[place])
                prompts.append(self._prompts[place])
        self.sequences = [s for _, s in chosen]
        self._epochs = [s.epoch for s in self.sequences]
        if not chosen:
            self._counts = mx.zeros((0, self.vocab), mx.int32)
            self._prompts = mx.zeros((0, self.vocab), mx.bool_)
            return
        self._counts, self._prompts = mx.stack(counts), mx.stack(prompts)
        self.rows = mx.array([row for row, _ in chosen])
        parameters = [s.sampling for s in self.sequences]
        self._repetition = mx.array([p.repetition_penalty for p in parameters])[:, None]
        self._presence = mx.array([p.presence_penalty for p in parameters])[:, None]
        self._frequency = mx.array([p.frequency_penalty for p in parameters])[:, None]

    def apply(self, logits: mx.array, tokens: mx.array) -> mx.array:
        """Penalize ``logits`` (rows, vocab), f32; ``tokens`` are the step's inputs, (rows,)."""
        # A row's first step has its last prompt token as input, which is no output.
        generated = mx.array([[int(s.launched > 0)] for s in self.sequences])
        newest = tokens[self.rows][:, None].astype(mx.int32)
        places = mx.arange(len(self.sequences))[:, None]
        self._counts = self._counts.at[places, newest].add(generated)
        counts = self._counts
        x = logits[self.rows]
        seen = self._prompts | (counts > 0)
        repeated = mx.where(x > 0, x / self._repetition, x * self._repetition)
        x = mx.where(seen, repeated, x)
        x = x - self._presence * (counts > 0) - self._frequency * counts
        logits[self.rows] = x
        return logits

    def _histogram(self, tokens: list[int]) -> mx.array:
        counts = mx.zeros((self.vocab,), mx.int32)
        return counts.at[mx.array(tokens)].add(1) if tokens else counts
