"""Tells from a worker's heartbeats whether it is well, slow to answer, or hung."""

from __future__ import annotations

from .config import WorkerConfig
from .messages import Beat

BEAT_SECONDS = 0.25
"""How often a worker says that it lives."""
_LOAD_SILENT_SECONDS = 60.0
"""While it loads it may be silent for longer: libraries are imported, and some read files with
Python's lock held."""
_FEW_BEATS = 4


class Watch:
    """Counts the time since the worker was heard of, by the turns of the front's own loop.

    So a front that was stopped, or busy, for a while does not take its workers for dead.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._silent = 0.0
        self._unhealthy = 0
        self._stalled = 0.0
        self._loaded = False

    @property
    def healthy(self) -> bool:
        """Whether the worker was heard of lately and said that it is well."""
        silent = self._loaded and self._silent >= self._config.silent_seconds
        return not (silent or self._unhealthy)

    def start(self) -> None:
        """The model is loaded: from now on short silences count."""
        self._loaded = True
        self._silent = 0.0

    def heard(self) -> None:
        """The worker has sent something."""
        self._silent = 0.0

    def beat(self, beat: Beat) -> None:
        """The worker has said how it is."""
        self._stalled = beat.stalled
        self._unhealthy = 0 if beat.healthy or not self._loaded else self._unhealthy + 1

    def fault(self, seconds: float) -> str:
        """So many more seconds passed. Why the worker has to be killed; "": it has not."""
        config = self._config
        self._silent += seconds
        if self._silent > (config.hang_seconds if self._loaded else _LOAD_SILENT_SECONDS):
            return f"it was silent for {self._silent:.1f} s"
        if self._loaded and self._stalled > config.step_seconds:
            return f"it took no step for {self._stalled:.0f} s while work waits"
        if self._unhealthy >= _FEW_BEATS:
            return "its engine is dead"
        return ""
