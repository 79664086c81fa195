"""The requests that have not ended, and what their callers get: tokens, and one end each."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .deadlines import Deadlines
from .errors import Cancelled, DeadlineExceeded, EngineError, InternalError
from .output import RequestOutput
from .reader import RawLogprobs, read_token
from .sequence import Group, Phase, Sequence

log = logging.getLogger(__name__)

Delivery = tuple[object, RequestOutput | EngineError]


class Answers:
    """Keeps outputs until ``flush``; ``deliver`` takes them in batches, and must not block."""

    def __init__(self, deliver: Callable[[list[Delivery]], None]) -> None:
        self.groups: dict[str, Group] = {}
        self._deadlines = Deadlines()
        self._deliver = deliver
        self._outbox: list[Delivery] = []

    def open(self, group: Group) -> None:
        """Answer a request from now on."""
        group.open = len(group.sequences)
        self.groups[group.request.request_id] = group
        self._deadlines.add(group)

    def take(
        self, sequence: Sequence, token: int, logprobs: RawLogprobs | None, now: float
    ) -> bool:
        """One token of one row. Whatever goes wrong with it ends this request and no other.

        False when it did.
        """
        group = sequence.group
        try:
            output = read_token(sequence, token, logprobs, now)
        except EngineError as error:
            self.end(group, error)
            return False
        except Exception:
            log.exception("request %s failed", sequence.request_id)
            self.end(group, InternalError("the request could not be continued"))
            return False
        self._outbox.append((group.sink, output))
        if output.finish is not None:
            sequence.phase = Phase.ENDED
            group.open -= 1
            if not group.open:
                group.closed = True
                self.groups.pop(sequence.request_id, None)
        return True

    def end(self, group: Group, error: EngineError) -> None:
        """Close a group with its one error."""
        self.groups.pop(group.request.request_id, None)
        if group.close():
            self._outbox.append((group.sink, error))

    def abort(self, request_id: str, error: EngineError | None) -> None:
        """End a request with ``error`` (default: Cancelled); unknown ids are ignored."""
        group = self.groups.get(request_id)
        if group is not None:
            self.end(group, error or Cancelled("the request was cancelled"))

    def end_all(self, error: EngineError) -> None:
        """End every request with ``error``."""
        for group in list(self.groups.values()):
            self.end(group, error)

    def expire(self, now: float) -> None:
        """End the requests whose deadline has passed."""
        for group in self._deadlines.passed(now, len(self.groups)):
            self.end(group, DeadlineExceeded("the deadline passed before the answer was complete"))

    def flush(self) -> None:
        """Hand out what there is."""
        if self._outbox:
            outbox, self._outbox = self._outbox, []
            self._deliver(outbox)
