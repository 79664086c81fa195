"""Waiting a moment for requests that come together, so that they are prefilled in one wave.

Then they take little longer than the first alone. Beside it, once it decodes, they would be
prefilled in short chunks for the sake of its pace.
"""

from __future__ import annotations

# How long an idle engine waits at most.
_SECONDS = 0.02


class Gathering:
    """Says whether an idle engine is to begin a little later."""

    def __init__(self) -> None:
        # Requests that are about to be submitted; counted by whoever prepares them.
        self.preparing = 0
        self._until: float | None = None

    def wait(self, idle: bool, waiting: bool, now: float) -> bool:
        """Whether to leave ``waiting`` requests where they are at time ``now``, in seconds."""
        if not (idle and waiting and self.preparing):
            self._until = None
            return False
        if self._until is None:
            self._until = now + _SECONDS
        return now < self._until
