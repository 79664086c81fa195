"""Embedding on a model that also generates: its batches go between decode steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .scheduler import EmbeddingScheduler

if TYPE_CHECKING:
    from ..core import EngineCore

# Of a decode step's time, for one batch: with it between two steps the gap between tokens
# stays below twice what it is without.
_SHARE = 0.8


class EmbeddingTurns:
    """A stepper of the device thread, which alternates with ``core``'s steps."""

    def __init__(self, scheduler: EmbeddingScheduler, core: EngineCore) -> None:
        self.scheduler = scheduler
        self.core = core

    def step(self) -> bool:
        """One batch; a small one while streams run, so that they keep their pace."""
        pace = self.core.pace
        budget = None
        if self.core.batch:
            budget = max(1, int(_SHARE * pace.decode_seconds / max(pace.token_seconds, 1e-9)))
        worked = self.scheduler.step(budget)
        if worked:
            pace.idle()  # the step that follows would be measured with this batch in it
        return worked

    def rest(self) -> None:
        """See ``Stepper.rest``."""
        self.scheduler.rest()
