"""When to start a worker again."""

from __future__ import annotations

import random

_FIRST = 0.1
_DOUBLINGS = 30


class Backoff:
    """Pauses that double with every failure in a row, up to ``most`` seconds.

    Each is cut by up to a half at random, so that workers that died together do not load
    together.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        pause = min(self._most, _FIRST * 2.0 ** min(self._failures, _DOUBLINGS))
        self._failures += 1
        return pause * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """All is well: the next failure is the first."""
        self._failures = 0
