"""Embedding on a model that also generates: its batches go between decode steps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .scheduler import EmbeddingScheduler

if TYPE_CHECKING:
    from ..core import EngineCore

# What a decode step and a batch may take together, in decode steps: the gap between tokens
# stays below twice what it is without.
_TOGETHER = 1.9
# Of so many turns, so many are left out, so that what a decode step takes alone stays known.
_CYCLE, _RESTS = 32, 3
# Batches that stayed within their time before a larger one is tried: one gap in so many may be
# longer than twice, which its 99th percentile does not see.
_PATIENCE = 256
_GROWTH, _CUT = 1.25, 0.8
_SMOOTHING = 0.2


class EmbeddingTurns:
    """A stepper of the device thread, which alternates with ``core``'s steps.

    While requests run, the size of batches is found by trying: what a batch takes depends on
    the device and is far from proportional to its tokens. Sizes grow quickly until a step with
    a batch takes too long, then go back and are raised rarely. Where a single input takes too
    long (a long one, or one beside a single stream), batches leave out turns, so that on
    average they keep to their time.
    """

    def __init__(self, scheduler: EmbeddingScheduler, core: EngineCore) -> None:
        self.scheduler = scheduler
        self.core = core
        self._tokens = 1.0  # of a batch beside streams
        self._seconds = 0.0  # moving average of turns with batches of this size
        self._patience = 0
        self._credit = 0.0  # seconds that turns took less than they may, or more
        self._turns = 0
        self._before: float | None = None
        self._embedded = False  # by the turn before

    def step(self) -> bool:
        """One batch; a small one while requests run, so that streams keep their pace."""
        if not self.core.groups:
            self._before = None
            worked = self.scheduler.step()
            if worked:
                self.core.pace.idle()  # what follows would be measured with this batch in it
            return worked
        if not self.scheduler.busy:
            self._before = None
            return self.scheduler.step(0)
        now = time.perf_counter()
        if self._before is not None:
            self._learn(now - self._before)
        self._before = now
        self._turns += 1
        # A debt of one step is let be: batches of one size are not quite alike.
        runs = self._credit >= -self.core.pace.decode_seconds and self._turns % _CYCLE >= _RESTS
        worked = self.scheduler.step(int(self._tokens) if runs else 0)
        self._embedded = bool(runs and self.scheduler.tokens_read)
        if runs or self.scheduler.tokens_read:
            self.core.pace.idle()
        return worked

    def rest(self) -> None:
        """See ``Stepper.rest``."""
        self.scheduler.rest()

    def _learn(self, seconds: float) -> None:
        """A turn, with the decode step in it, took so many seconds."""
        allowed = _TOGETHER * self.core.pace.decode_seconds
        self._credit = min(self._credit, 0.0) + allowed - seconds
        if not self._embedded:
            return
        self._seconds += (_SMOOTHING if self._seconds else 1.0) * (seconds - self._seconds)
        if self._seconds > allowed:
            self._resize(max(1.0, self._tokens * _CUT))
            self._patience = _PATIENCE
        elif self.scheduler.tokens_read >= self._tokens / 2:  # a full one
            self._patience -= 1
            if self._patience <= 0:
                self._resize(min(self._tokens * _GROWTH + 1, self.scheduler.policy.max_tokens))

    def _resize(self, tokens: float) -> None:
        self._tokens = tokens
        self._seconds = 0.0
