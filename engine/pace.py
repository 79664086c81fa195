"""How many prompt tokens may go between two decode steps.

A chunk of prefill holds up every running stream, so while streams run it is kept to a
multiple of what a decode step takes, as measured on this machine under this load.
"""

from __future__ import annotations

import time

_SMOOTHING = 0.2
# Below this a chunk's own overhead dominates and prompts would never get through.
_SMALLEST = 32
# What streams can spare whatever a step takes: at a hundred tokens a second nobody reads along, and
# the prompts of small models, whose chunks are all overhead, would take many times as long.
_SPARE_SECONDS = 0.01


class ChunkTime:
    """What chunks of prefill take: so much each, and so much a token, from recent ones.

    A weighted least-squares line. Chunks of one length tell nothing about the two parts: then
    all of it counts as the tokens', and longer chunks are thought dearer than they are.
    """

    _KEPT = 0.9  # weight of what was known, at each new chunk
    _WILD = 3.0  # beyond so many times what was expected something else took the time

    def __init__(self) -> None:
        self._weight = self._n = self._t = self._nn = self._nt = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """One more chunk."""
        if self._weight > 1:
            seconds = min(seconds, self._WILD * self.of(tokens))
        kept = self._KEPT
        self._weight = self._weight * kept + 1
        self._n = self._n * kept + tokens
        self._t = self._t * kept + seconds
        self._nn = self._nn * kept + tokens * tokens
        self._nt = self._nt * kept + tokens * seconds

    @property
    def line(self) -> tuple[float, float]:
        """Seconds a chunk and seconds a token, neither below 0; (0, 0) before any chunk."""
        if not self._n:
            return 0.0, 0.0
        whole = self._t / self._n
        spread = self._weight * self._nn - self._n * self._n
        if spread < 1e-3 * self._n * self._n:
            return 0.0, whole
        token = (self._weight * self._nt - self._n * self._t) / spread
        token = min(max(token, 0.01 * whole), whole)
        return (self._t - token * self._n) / self._weight, token

    def of(self, tokens: int) -> float:
        """Seconds that a chunk of so many tokens takes."""
        chunk, token = self.line
        return chunk + tokens * token

    def fits(self, seconds: float) -> float:
        """Tokens of a chunk that takes so long, 0 or less where none do."""
        chunk, token = self.line
        return (seconds - chunk) / token


class Pace:
    """Measures steps; ``share`` is the time of a chunk in decode steps."""

    def __init__(self, share: float, largest: int) -> None:
        self.share = share
        self.largest = largest
        self.decode_seconds = 0.0
        self.chunk_time = ChunkTime()
        self._last: float | None = None

    def budget(self, decoding: bool) -> int:
        """Prompt tokens for the next chunk, all prompts together."""
        if not decoding:
            return self.largest
        if not (self.decode_seconds and self.chunk_time.of(1)):
            return min(self.largest, 8 * _SMALLEST)
        wanted = self.chunk_time.fits(max(self.share * self.decode_seconds, _SPARE_SECONDS))
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
            self.chunk_time.add(prefilled, spent)


def _smooth(old: float, new: float) -> float:
    return new if not old else old + _SMOOTHING * (new - old)
