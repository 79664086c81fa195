"""A cache that is bounded in bytes, not in entries."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteLRU(Generic[K, V]):
    """Least-recently-used cache of values whose cost in bytes is known. Thread-safe.

    A value that alone costs more than ``capacity`` is not kept.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes that the entries cost; never above ``capacity``."""
        return self._used

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value of a key, which becomes the most recently used; None: not there."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: K, value: V, cost: int) -> None:
        """Keep a value, dropping the least recently used ones to make room."""
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._used -= old[1]
            if cost > self.capacity:
                return
            self._entries[key] = (value, cost)
            self._used += cost
            while self._used > self.capacity:
                _, (_, freed) = self._entries.popitem(last=False)
                self._used -= freed
