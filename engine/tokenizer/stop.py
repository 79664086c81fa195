"""Stop strings, found in a stream of text pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Ends a text before the first of some stop strings, without leaking a part of one.

    "First" is the match that ends earliest in the text, because that is the moment at which
    generation stops; of matches that end together, the longest (it starts earliest, so that
    none of it is emitted).
    """

    __slots__ = ("_held", "_longest", "_prefixes", "_stops")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(sorted(set(filter(None, stops)), key=len, reverse=True))
        self._prefixes = frozenset(
            stop[:length] for stop in self._stops for length in range(1, len(stop))
        )
        self._longest = max(map(len, self._stops), default=1) - 1
        self._held = ""

    def feed(self, text: str) -> tuple[str, str | None]:
        """Take further text; return what may be emitted and the stop that ended it, if one did.

        After a match the matcher must not be fed again.
        """
        if not self._stops or not text:
            return text, None
        held, pending = len(self._held), self._held + text
        match = self._first_match(pending, held)
        if match is not None:
            end, stop = match
            self._held = ""
            return pending[: end - len(stop)], stop
        keep = self._suffix_that_may_grow(pending)
        self._held = pending[len(pending) - keep :]
        return pending[: len(pending) - keep], None

    def flush(self) -> str:
        """The text held back when generation ends for another reason."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, text: str, already_searched: int) -> tuple[int, str] | None:
        """End and stop of the earliest-ending match; none ends within ``already_searched``."""
        best: tuple[int, str] | None = None
        for stop in self._stops:  # longest first, so that it wins a tie
            start = text.find(stop, max(0, already_searched - len(stop) + 1))
            if start >= 0 and (best is None or start + len(stop) < best[0]):
                best = (start + len(stop), stop)
        return best

    def _suffix_that_may_grow(self, text: str) -> int:
        for length in range(min(self._longest, len(text)), 0, -1):
            if text[len(text) - length :] in self._prefixes:
                return length
        return 0
