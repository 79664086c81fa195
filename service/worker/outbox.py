"""What the worker has to say, held and merged while the front does not listen."""

from __future__ import annotations

from collections.abc import Callable

from mlxforge.engine.errors import ResourceExhausted

from ..merging import entries, merged
from .link import Link
from .messages import Beat, Log, Message, Piece, ToWorker, failure_of, output_of, piece_of

_MERGE_AT = 4096
MAX_ENTRIES = 500_000
"""Tokens and logprob entries held in all: some 80 MB at the worst."""


class Outbox:
    """In front of a link. A front that is stopped must not fill this process's memory.

    ``abandon`` is called with the number of a call that was ended for that.
    """

    def __init__(
        self,
        link: Link[ToWorker],
        abandon: Callable[[int], None],
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._link = link
        self._abandon = abandon
        self._max_entries = max_entries
        self._held: list[Message] = []
        self._merge_at = _MERGE_AT
        self._answered = False

    def send(self, message: Message) -> None:
        """Send now, or in its turn once the front reads again."""
        passing = isinstance(message, (Beat, Log))
        self._answered |= not passing
        if not (self._held or self._link.congested):
            self._link.send(message)
        elif not passing:
            self._held.append(message)
            if len(self._held) >= self._merge_at:
                self._merge()
                self._merge_at = len(self._held) + _MERGE_AT

    def catch_up(self) -> None:
        """Send what was held, if the front reads again. Called now and then."""
        if self._held and not self._link.congested:
            self._merge()
            held, self._held, self._merge_at = self._held, [], _MERGE_AT
            for message in held:
                self._link.send(message)

    def answered_since_last(self) -> bool:
        """Whether any call was answered since this was asked last."""
        answered, self._answered = self._answered, False
        return answered

    def _merge(self) -> None:
        """Make one piece of those of a choice; end the streams when they are too many still."""
        pieces: dict[int, list[Piece]] = {}
        for message in self._held:
            if isinstance(message, Piece):
                pieces.setdefault(message.call, []).append(message)
        # What else there is of a call comes after its pieces.
        others = [message for message in self._held if not isinstance(message, Piece)]
        outputs = {
            call: merged([output_of("", part) for part in parts]) for call, parts in pieces.items()
        }
        if sum(entries(o) for parts in outputs.values() for o in parts) <= self._max_entries:
            self._held = [piece_of(call, o) for call, parts in outputs.items() for o in parts]
        else:
            self._held = [failure_of(call, _too_far_behind()) for call in outputs]
            for call in outputs:
                self._abandon(call)
        self._held += others


def _too_far_behind() -> ResourceExhausted:
    return ResourceExhausted(
        "the server is too far behind its models", reason="SLOW_READER", retry_after=None
    )
