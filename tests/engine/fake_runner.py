"""A runner without a model: the next token is a function of all tokens before it.

It keeps what each row has processed, so a row that was moved, put back, recomputed or mixed
up with another shows in its very next token. Memory is counted as ``SlotRunner`` counts it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from mlxforge.engine.model.runner import Midway
from mlxforge.engine.model.shapes import PrefillShapes

VOCAB = 24
# Ends an answer where a request says so.
END = 0


def next_token(history: Sequence[int]) -> int:
    """What the fake model says after ``history``."""
    state = 7
    for token in history:
        state = (state * 31 + token + 1) % 1_000_003
    return state % VOCAB


def answer_to(prompt: Sequence[int], max_tokens: int, ends: frozenset[int]) -> list[int]:
    """The whole answer, computed alone."""
    history = list(prompt)
    for _ in range(max_tokens):
        history.append(next_token(history))
        if history[-1] in ends:
            break
    return history[len(prompt) :]


@dataclass
class FakePrefill:
    """Prompts in prefill; one byte a position."""

    rows: int
    length: int
    offset: int = 0
    histories: list[list[int]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return self.rows * self.length


class FakeRunner:
    """See ``Runner``. ``before_forward`` is called before every forward pass and may raise."""

    prefill_rows = 4

    def __init__(self, *, chunk_unit: int = 1) -> None:
        self.shapes = PrefillShapes(chunk_unit)
        self.before_forward: Callable[[], None] = lambda: None
        self.histories: list[list[int]] = []
        self.capacity = 0
        self.positions = 0

    @property
    def rows(self) -> int:
        return len(self.histories)

    @property
    def nbytes(self) -> int:
        return self.capacity * self.positions

    def width(self, rows: int) -> int:
        return rows

    def widths(self, most: int) -> list[int]:
        return [1]

    def cost(self, rows: int, length: int) -> int:
        return rows * (-(-length // 8) * 8)

    def prefill_cost(self, rows: int, length: int) -> int:
        return rows * self.shapes.capacity(length)

    def holds(self, rows: int, length: int) -> bool:
        return rows <= self.capacity and length <= self.positions

    def reserve(self, rows: int, length: int, most: int) -> None:
        size = rows, -(-length // 8) * 8
        kept = max(size[0], self.capacity), max(size[1], self.positions)
        if kept[0] * kept[1] <= most:
            size = kept
        assert size[0] >= self.rows and all(len(h) <= size[1] for h in self.histories)
        self.capacity, self.positions = size

    def open(self, rows: int, length: int) -> FakePrefill:
        return FakePrefill(rows, self.prefill_cost(1, length), 0, [[] for _ in range(rows)])

    def advance(self, prefill: FakePrefill, tokens: Sequence[Sequence[int]]) -> None:
        self.before_forward()
        assert len(tokens) == prefill.rows and len(set(map(len, tokens))) == 1
        for history, more in zip(prefill.histories, tokens, strict=True):
            history += more
        prefill.offset += len(tokens[0])
        assert prefill.offset <= prefill.length

    def join(
        self, prefill: FakePrefill | None, sources: Sequence[int], lengths: Sequence[int]
    ) -> None:
        for source, length in zip(sources, lengths, strict=True):
            self.histories.append(prefill.histories[source][:length] if prefill else [])
        assert self.rows <= self.capacity and max(lengths) <= self.positions

    def decode(self, tokens: mx.array, lengths: Sequence[int], midway: Midway = None) -> mx.array:
        self.before_forward()
        if midway is not None:
            midway()
        inputs = np.array(tokens).tolist()
        assert len(inputs) == len(lengths) == self.rows
        logits = np.zeros((self.rows, VOCAB), np.float32)
        for row, history in enumerate(self.histories):
            assert len(history) == lengths[row], "a row does not stand where the core thinks"
            history.append(inputs[row])
            assert len(history) <= self.positions, "a row writes beyond its memory"
            logits[row, next_token(history)] = 1.0
        return mx.array(logits)

    def keep(self, order: Sequence[int]) -> None:
        self.histories = [self.histories[place] for place in order]

    def release(self) -> None:
        self.histories = []
        self.capacity = self.positions = 0
