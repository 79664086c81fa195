"""How many prompt tokens may go between two decode steps.

A chunk of prefill holds up every running stream, so while streams run it is kept to a
multiple of what a decode step takes, as measured on this machine under this load.
"""

from __future__ import annotations

import time

_SMOOTHING = 0.2
# Below this a chunk's own overhead dominates and prompts would never get through.
_SMALLEST = 32


class Pace:
    """Measures steps; ``share`` is the time of a chunk in decode steps."""

    def __init__(self, share: float, largest: int) -> None:
        self.share = share
        self.largest = largest
        self.decode_seconds = 0.0
        self.token_seconds = 0.0
        self._last: float | None = None

    def budget(self, decoding: bool) -> int:
        """Prompt tokens for the next chunk, all prompts together."""
        if not decoding or not self.decode_seconds or not self.token_seconds:
            return self.largest if not decoding else min(self.largest, 8 * _SMALLEST)
        wanted = self.share * self.decode_seconds / self.token_seconds
        return int(min(self.largest, max(_SMALLEST, wanted)))

    def idle(self) -> None:
        """The device had nothing to do: the next interval says nothing."""
        self._last = None

    def finished(self, prefilled: int, decoded: bool) -> None:
        """A step's work is done: ``prefilled`` prompt tokens, and perhaps a decode step."""
        now = time.perf_counter()
        last, self._last = self._last, now
        if last is None:
            return
        elapsed = now - last
        if not prefilled:
            if decoded:
                self.decode_seconds = _smooth(self.decode_seconds, elapsed)
        elif prefilled >= _SMALLEST:
            spent = max(elapsed - (self.decode_seconds if decoded else 0.0), 1e-6)
            self.token_seconds = _smooth(self.token_seconds, spent / prefilled)


def _smooth(old: float, new: float) -> float:
    return new if not old else old + _SMOOTHING * (new - old)
