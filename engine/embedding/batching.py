"""What runs together: inputs of all requests, by length, under a token budget.

Inputs wait in buckets by padded width. A batch starts from the request whose turn it is, in
that one's fullest bucket, and is filled from all requests in turn; narrower inputs join
where little is lost to padding. Turns alternate between the request that has had the least
and the oldest one: a small request goes ahead of a large one, and none starves.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import mlx.core as mx

from ..kv.budget import device_bytes
from .inputs import EncodedInput


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Sizes of batches, by device.

    ``max_tokens`` counts padding. ``free_tokens`` is how many cost about as much as none,
    because starting the operations takes longer: up to there, padding is not avoided.
    ``min_step`` is the finest difference of widths; ``round_rows`` keeps the number of rows to
    powers of two and thrice those, for devices that prepare kernels for each shape.
    ``streams`` is how many batches run side by side.
    """

    max_tokens: int
    max_rows: int
    free_tokens: int
    min_step: int = 8
    round_rows: bool = True
    streams: int = 1
    # Largest share of a batch's width that an input of another bucket may leave empty.
    max_padding: float = 0.25

    @classmethod
    def of_device(cls, streams: int = 1) -> BatchPolicy:
        """What suits MLX's default device; ``streams`` is for CPUs."""
        if mx.default_device().type == mx.DeviceType.cpu:
            # Small enough for the caches (see cpu.py); every padding token costs.
            return cls(512, 256, free_tokens=16, min_step=1, round_rows=False, streams=streams)
        # Scores of 8,192 tokens take up to 200 MB in f32 (12 heads, 512 tokens each).
        large = device_bytes() >= 48 << 30
        return cls(32_768 if large else 8192, 1024, free_tokens=4096 if large else 512)

    def width(self, length: int) -> int:
        """``length`` rounded up: to ``min_step``, and to an eighth of its power of two."""
        step = max(self.min_step, 1 << max(0, length.bit_length() - 4))
        return -(-length // step) * step

    def height(self, rows: int) -> int:
        """``rows`` rounded up as ``round_rows`` says."""
        if not self.round_rows or rows < 3:
            return rows
        power = 1 << (rows - 1).bit_length()
        return power * 3 // 4 if rows <= power * 3 // 4 else power


# A request in the queue: compared by identity, kept in dictionaries.
R = TypeVar("R")


@dataclass(slots=True)
class BatchPart(Generic[R]):
    """A request's inputs in a batch: their positions in the request, and their tokens."""

    owner: R
    positions: list[int] = field(default_factory=list)
    inputs: list[EncodedInput] = field(default_factory=list)


@dataclass(slots=True)
class Batch(Generic[R]):
    """What runs together, padded to ``width`` tokens."""

    width: int
    parts: list[BatchPart[R]]

    @property
    def rows(self) -> int:
        """Number of inputs."""
        return sum(len(part.inputs) for part in self.parts)

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return sum(item.ids.size for part in self.parts for item in part.inputs)


_Waiting = deque[tuple[int, EncodedInput]]


@dataclass(slots=True)
class _Account:
    """What the queue knows of one request."""

    arrival: int
    widths: dict[int, int] = field(default_factory=dict)  # waiting inputs by width
    served: int = 0  # tokens


class InputQueue(Generic[R]):
    """Tokenized inputs that wait for the device. Belongs to one thread."""

    def __init__(self, policy: BatchPolicy, max_width: int) -> None:
        self.policy = policy
        self.max_width = max_width
        self.waiting_tokens = 0
        self._buckets: dict[int, dict[R, _Waiting]] = {}
        self._counts: dict[int, int] = {}  # inputs by width
        self._accounts: dict[R, _Account] = {}  # in order of arrival
        self._least: list[tuple[int, int, R]] = []  # heap of (served, arrival, request)
        self._arrivals = itertools.count()
        self._turn = itertools.cycle((True, False))

    def __len__(self) -> int:
        return sum(self._counts.values())

    def add(self, owner: R, position: int, item: EncodedInput) -> None:
        """Let the input at ``position`` of a request wait."""
        width = min(self.policy.width(item.ids.size), self.max_width)
        account = self._accounts.get(owner)
        if account is None:
            account = self._accounts[owner] = _Account(next(self._arrivals))
        if not account.widths:
            heapq.heappush(self._least, (account.served, account.arrival, owner))
        self._buckets.setdefault(width, {}).setdefault(owner, deque()).append((position, item))
        self._counts[width] = self._counts.get(width, 0) + 1
        account.widths[width] = account.widths.get(width, 0) + 1
        self.waiting_tokens += item.ids.size

    def remove(self, owner: R) -> None:
        """Forget a request and what waits of it."""
        account = self._accounts.pop(owner, None)
        if account is None:
            return
        for width, count in account.widths.items():
            waiting = self._buckets[width].pop(owner)
            self._counts[width] -= count
            self.waiting_tokens -= sum(item.ids.size for _, item in waiting)
            self._tidy(width)

    def take(self, max_tokens: int | None = None) -> Batch[R] | None:
        """The next batch, of at most ``max_tokens`` with padding (but at least one input)."""
        first = self._next_owner()
        if first is None:
            return None
        budget = min(self.policy.max_tokens, max_tokens or self.policy.max_tokens)
        width = max(self._accounts[first].widths, key=lambda w: (self._counts[w] * w, w))
        width = self._widened(width, budget)
        room = max(1, min(self.policy.max_rows, budget // width))
        parts: dict[R, BatchPart[R]] = {}
        # The request whose turn it is goes first in every bucket, then the others.
        for bucket in sorted((w for w in self._buckets if w <= width), reverse=True):
            if bucket < width * (1 - self.policy.max_padding):
                room = min(room, self.policy.free_tokens // width - _rows(parts))
            room -= self._fill(parts, bucket, room, first)
            if room <= 0:
                break
        for owner in parts:
            account = self._accounts[owner]
            if account.widths:
                heapq.heappush(self._least, (account.served, account.arrival, owner))
        return Batch(width, list(parts.values()))

    def _next_owner(self) -> R | None:
        """Whose turn it is among the requests with waiting inputs."""
        if next(self._turn):
            for owner, account in self._accounts.items():
                if account.widths:
                    return owner
        while self._least:
            served, _, owner = self._least[0]
            known = self._accounts.get(owner)
            if known is not None and known.widths and known.served == served:
                return owner
            heapq.heappop(self._least)
        return None

    def _widened(self, width: int, budget: int) -> int:
        """The widest bucket whose inputs, with all narrower ones, fit in the free tokens."""
        free = min(self.policy.free_tokens, budget)
        rows = 0
        for bucket in sorted(self._counts):
            rows += self._counts[bucket]
            if rows * bucket > free or rows > self.policy.max_rows:
                break
            width = max(width, bucket)
        return width

    def _fill(self, parts: dict[R, BatchPart[R]], width: int, room: int, first: R) -> int:
        """Move up to ``room`` inputs of a bucket into the parts; returns how many."""
        taken = 0
        while room > taken and width in self._buckets:
            bucket = self._buckets[width]
            share = -(-(room - taken) // len(bucket))
            for owner in _starting_with(bucket, first):
                count = min(share, room - taken, len(bucket[owner]))
                if count <= 0:
                    break
                part = parts.get(owner)
                if part is None:
                    part = parts[owner] = BatchPart(owner)
                self._move(part, width, count)
                taken += count
        return taken

    def _move(self, part: BatchPart[R], width: int, count: int) -> None:
        """Take ``count`` inputs of a width from their request."""
        owner = part.owner
        waiting = self._buckets[width][owner]
        account = self._accounts[owner]
        for _ in range(count):
            position, item = waiting.popleft()
            part.positions.append(position)
            part.inputs.append(item)
            account.served += item.ids.size
            self.waiting_tokens -= item.ids.size
        self._counts[width] -= count
        account.widths[width] -= count
        if not account.widths[width]:
            del account.widths[width]
            del self._buckets[width][owner]
            self._tidy(width)

    def _tidy(self, width: int) -> None:
        if not self._counts[width]:
            del self._counts[width], self._buckets[width]


def _starting_with(bucket: dict[R, _Waiting], first: R) -> Iterator[R]:
    """The requests of a bucket, ``first`` before the others."""
    owners = list(bucket)
    if first in bucket:
        yield first
    yield from (owner for owner in owners if owner is not first)


def _rows(parts: dict[R, BatchPart[R]]) -> int:
    return sum(len(part.inputs) for part in parts.values())
