"""Requests by the time they have to be answered."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

from .sequence import Group

# Ended requests that may stand in the heap beside as many as live, before they are swept out.
_SPARE = 64


class Deadlines:
    """A heap of groups; those that ended meanwhile are passed over."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Group]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, group: Group) -> None:
        """Watch a group that has a deadline."""
        if group.deadline is not None:
            heapq.heappush(self._heap, (group.deadline, next(self._order), group))

    def passed(self, now: float, live: int) -> Iterator[Group]:
        """Take out the groups whose time is up; ``live`` groups have not ended."""
        if len(self._heap) > 2 * live + _SPARE:
            self._heap = [entry for entry in self._heap if not entry[2].closed]
            heapq.heapify(self._heap)
        while self._heap and (self._heap[0][0] <= now or self._heap[0][2].closed):
            yield heapq.heappop(self._heap)[2]
