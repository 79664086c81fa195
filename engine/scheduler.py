"""Which prompts are prefilled next, and together.

Policy only: requests wait in order of arrival, are admitted while rows and memory allow,
and those admitted at once are prefilled together where their lengths are alike. Moving KV
memory is the core's work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .kv.prefix import BlockKey, PrefixCache
from .model.runner import Prefill
from .model.shapes import PrefillShapes
from .sequence import Group, Phase, Sequence


@dataclass(slots=True, eq=False)
class Entry:
    """Sequences that wait with one and the same prompt: the choices of a request.

    ``cached`` is the number of blocks that were in the prefix cache when it was admitted,
    ``computes`` the first block it lacked.
    """

    sequences: list[Sequence]
    tokens: list[int]
    cached: int = 0
    computes: BlockKey | None = None
    joined: bool = False

    @classmethod
    def of(cls, sequences: list[Sequence]) -> Entry:
        """All choices of a request, or one that was put back."""
        return cls(sequences, sequences[0].tokens)

    @property
    def salt(self) -> str:
        """Whose prefixes it may share."""
        return self.sequences[0].salt

    @property
    def live(self) -> list[Sequence]:
        """The sequences that have not ended."""
        return [s for s in self.sequences if s.phase is not Phase.ENDED]

    @property
    def arrival(self) -> float:
        """When its request came."""
        return self.sequences[0].group.arrival

    @property
    def length(self) -> int:
        """Tokens to prefill: all but the last, which the first decode step takes."""
        return len(self.tokens) - 1


@dataclass(slots=True, eq=False)
class Job:
    """Entries that are prefilled together, from the same position on."""

    entries: list[Entry]
    prefill: Prefill | None = None

    @property
    def offset(self) -> int:
        """Positions that are done."""
        return self.prefill.offset if self.prefill is not None else 0

    @property
    def length(self) -> int:
        """Tokens of the longest."""
        return max(entry.length for entry in self.entries)

    @property
    def pending(self) -> list[Entry]:
        """Entries that are to join yet and for which somebody waits."""
        return [entry for entry in self.entries if not entry.joined and entry.live]

    def ready(self, offset: int) -> list[tuple[int, Entry]]:
        """Entries that are prefilled once ``offset`` positions are, and have not joined.

        Each with its place in the job.
        """
        return [
            (place, entry)
            for place, entry in enumerate(self.entries)
            if not entry.joined and entry.length <= offset
        ]

    @property
    def rows(self) -> int:
        """Rows that will join."""
        return sum(len(entry.live) for entry in self.pending)

    @property
    def arrival(self) -> float:
        """When the first of its requests came."""
        return min(entry.arrival for entry in self.entries)


class Scheduler:
    """The waiting queue and the prefills under way."""

    def __init__(
        self,
        *,
        max_rows: int,
        max_waiting: int,
        padding: float,
        prefix: PrefixCache | None,
        shapes: PrefillShapes | None = None,
    ) -> None:
        self.max_rows = max_rows
        self.max_waiting = max_waiting
        # How much longer than the shortest a prompt of the same job may be.
        self.padding = padding
        self.prefix = prefix
        self.shapes = shapes or PrefillShapes()
        self.waiting: deque[Entry] = deque()
        self.jobs: list[Job] = []

    @property
    def full(self) -> bool:
        """Whether the queue takes no more."""
        return len(self.waiting) >= self.max_waiting

    def add(self, group: Group) -> None:
        """Queue a request's sequences."""
        self.waiting.append(Entry.of(group.sequences))

    def put_back(self, sequence: Sequence) -> None:
        """Queue a sequence again, before all others, to be recomputed."""
        sequence.phase = Phase.WAITING
        sequence.epoch += 1
        self.waiting.appendleft(Entry.of([sequence]))

    def put_back_entries(self, entries: list[Entry]) -> None:
        """Queue entries that did not join again, before all others."""
        for entry in reversed(entries):
            for sequence in entry.live:
                sequence.phase = Phase.WAITING
            self.waiting.appendleft(Entry.of(entry.live))

    def drop_ended(self) -> None:
        """Forget entries whose sequences all ended."""
        if any(not entry.live for entry in self.waiting):
            self.waiting = deque(entry for entry in self.waiting if entry.live)

    def admit(self, running: int, take: Callable[[Entry], bool], job_rows: int) -> list[Job]:
        """Take from the queue what has rows and memory, as new jobs.

        ``take`` says whether an entry has room beside those it took before; ``job_rows`` is
        how many may be prefilled together.
        """
        rows = running + sum(job.rows for job in self.jobs)
        admitted: list[Entry] = []
        passed: list[Entry] = []
        computing = self._being_computed()
        while self.waiting:
            entry = self.waiting[0]
            if rows + len(entry.live) > self.max_rows:
                break
            self._match(entry)
            if entry.computes in computing:
                passed.append(self.waiting.popleft())  # its prefix is on its way: wait for it
                continue
            if not take(entry):
                break
            admitted.append(self.waiting.popleft())
            rows += len(entry.live)
            if entry.computes is not None:
                computing.add(entry.computes)
        self.waiting.extendleft(reversed(passed))
        jobs = self._grouped(admitted, job_rows)
        self.jobs.extend(jobs)
        return jobs

    def _match(self, entry: Entry) -> None:
        """Find out how much of the entry's prompt is cached, and what it lacks."""
        if self.prefix is None:
            return
        chain = self.prefix.match(entry.tokens, entry.salt)
        entry.cached, entry.computes = len(chain), None
        start = entry.cached * self.prefix.block
        if entry.length >= start + self.prefix.block:
            parent = chain[-1].id if chain else entry.salt
            entry.computes = parent, tuple(entry.tokens[start : start + self.prefix.block])

    def _being_computed(self) -> set[BlockKey]:
        entries = (entry for job in self.jobs for entry in job.pending)
        return {entry.computes for entry in entries if entry.computes is not None}

    def _grouped(self, entries: Iterable[Entry], job_rows: int) -> list[Job]:
        jobs: list[Job] = []
        for entry in sorted(entries, key=lambda e: (e.cached, e.length)):
            last = jobs[-1] if jobs else None
            if last is not None and len(last.entries) < job_rows and self._alike(last, entry):
                last.entries.append(entry)
            else:
                jobs.append(Job([entry]))
        # The one that came first is served first.
        return sorted((part for job in jobs for part in self._cut(job)), key=lambda j: j.arrival)

    def _cut(self, job: Job) -> Iterator[Job]:
        entries = job.entries
        while entries:
            rows = self.shapes.rows(len(entries))
            yield Job(entries[:rows])
            entries = entries[rows:]

    def _alike(self, job: Job, entry: Entry) -> bool:
        first = job.entries[0]
        return first.cached == entry.cached and entry.length <= first.length * self.padding + 8
