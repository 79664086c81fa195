"""Who may hold how much KV memory: running rows, prefills, shared prefixes.

Running rows come first, then prefills, then prefixes, which are evicted for either. All of
it together stays within one budget; the core asks here before it grows anything.
"""

from __future__ import annotations

from collections.abc import Iterable

import mlx.core as mx

from .errors import ResourceExhausted
from .kv.budget import describe_bytes
from .kv.prefix import Block, PrefixCache
from .kv.staging import Staging
from .model.runner import Runner
from .model.slots import SlotRunner
from .scheduler import Entry, Job
from .sequence import Sequence

# Positions a row is given beyond what it needs now, so that it does not grow every step.
_HEADROOM = 64


class Memory:
    """The budget of one engine, in bytes of KV memory."""

    def __init__(self, total: int, runner: Runner, prefix: PrefixCache | None) -> None:
        self.total = total
        self.runner = runner
        self.prefix = prefix
        self._open: list[Job] = []

    @property
    def used(self) -> int:
        """Bytes held by rows, prefills and prefixes."""
        return self.runner.nbytes + self._staged() + (self.prefix.nbytes if self.prefix else 0)

    def check(self, prompt: int, max_tokens: int, n: int) -> None:
        """Refuse what could never fit. Any thread may call it."""
        needed = self._needed(prompt + max_tokens, n)
        if needed > self.total:
            raise ResourceExhausted(
                f"the request may need {describe_bytes(needed)} of KV memory for {prompt} prompt "
                f"tokens and {n} x {max_tokens} new ones, but only {describe_bytes(self.total)} "
                "exist; lower max_tokens or n",
                reason="REQUEST_TOO_LARGE",
                retry_after=None,
            )

    def refusal(self, entry: Entry) -> ResourceExhausted:
        """The error of an entry that does not fit although nothing else is held."""
        needed = self.runner.cost(len(entry.live), len(entry.tokens) + 1)
        needed += self.runner.prefill_cost(1, len(entry.tokens))
        return ResourceExhausted(
            f"the request needs {describe_bytes(needed)} of KV memory and only "
            f"{describe_bytes(self.total)} exist",
            reason="REQUEST_TOO_LARGE",
            retry_after=None,
        )

    def longest(self, prompt: int, n: int, limit: int) -> int:
        """The most new tokens up to ``limit`` that could ever fit, at least 1."""
        low, high = 1, max(limit, 1)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self._needed(prompt + middle, n) <= self.total
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    def _needed(self, length: int, n: int) -> int:
        """Rows of ``length`` positions, and the prefill of one that is put back at its end."""
        return self.runner.cost(n, length) + self.runner.prefill_cost(1, length)

    def room(self, batch: list[Sequence], jobs: list[Job]) -> Room:
        """What is left beside the running rows and the prefills under way."""
        room = Room(self)
        for sequence in batch:
            room.add_row(sequence)
        for entry in (entry for job in jobs for entry in job.pending):
            room.add(entry)
        return room

    def open(self, batch: list[Sequence], job: Job) -> bool:
        """Memory for a job's prompts, begun with what is cached of them; False: no room.

        There must be room for the rows that will join as well, as far as can be told now.
        """
        rows = batch + [s for entry in job.pending for s in entry.live]
        size = self.runner.prefill_cost(len(job.entries), job.length)
        held = self._staged() + size
        if self.runner.cost(len(rows), max(map(_soon, rows))) + held > self.total:
            return False
        if self.runner.nbytes + held > self.total:
            self._shrink(batch)
        chains = self._chains(job, self.runner.nbytes + held)
        job.prefill = self.runner.open(len(job.entries), job.length)
        self._open.append(job)
        if self.prefix is not None and isinstance(job.prefill, Staging):
            self.prefix.load(job.prefill, chains)
        return True

    def _chains(self, job: Job, held: int) -> list[list[Block]]:
        """What is cached of a job's prompts, all equally long, once others gave way to it."""
        if self.prefix is None:
            return []
        for entry in job.entries:  # touched first, so that they are evicted last
            self.prefix.match(entry.tokens, entry.salt)
        self._evict(held)
        chains = [self.prefix.match(entry.tokens, entry.salt) for entry in job.entries]
        block = self.prefix.block
        shared = self.runner.shapes.resume(job.length, min(map(len, chains)) * block) // block
        for entry in job.entries:
            entry.cached = shared
            self.prefix.count(len(entry.tokens), shared * block)
        return [chain[:shared] for chain in chains]

    def chunk(self, job: Job, budget: int) -> int:
        """Positions that the next chunk of ``job`` covers, for ``budget`` tokens in all."""
        shapes, offset = self.runner.shapes, job.offset
        active = sum(e.length > offset for e in job.entries)
        return shapes.chunk(offset, shapes.padded(job.length) - offset, budget // active)

    def reserve(self, batch: list[Sequence], joining: list[Sequence]) -> bool:
        """Hold rows for ``joining`` beside ``batch``; False when there is no room."""
        return self._reserve(batch + joining, max(map(_soon, batch + joining)))

    def grow(self, batch: list[Sequence]) -> bool:
        """Hold a position for every row's next token; False when there is no room."""
        length = max(s.length for s in batch) + 1
        if self.runner.holds(len(batch), length):
            return True
        return self._reserve(batch, max(map(_soon, batch))) or self._reserve(batch, length)

    def _reserve(self, rows: list[Sequence], length: int) -> bool:
        """Room for ``rows``, to their full lengths where that is cheap."""
        staged = self._staged()
        full = max(s.final_length for s in rows)
        if self.runner.cost(len(rows), full) + staged <= self.total // 2:
            length = full
        needed = self.runner.cost(len(rows), length) + staged
        if needed > self.total:
            return False
        self._evict(needed)
        prefixes = self.prefix.nbytes if self.prefix else 0
        self.runner.reserve(len(rows), length, self.total - staged - prefixes)
        return True

    def _shrink(self, batch: list[Sequence]) -> None:
        """Give back what the rows hold beyond their needs."""
        if batch:
            self.runner.reserve(len(batch), max(map(_soon, batch)), 0)
        else:
            self.runner.release()

    def close(self, job: Job) -> None:
        """Let the memory of a job's prompts go."""
        job.prefill = None
        if job in self._open:
            self._open.remove(job)

    def keep_prompts(self, job: Job) -> None:
        """Put a finished job's prompts into the prefix cache, and let its memory go."""
        if self.prefix is not None and isinstance(job.prefill, Staging):
            self._keep(self.prefix, job, job.prefill)
        self.close(job)

    def _keep(self, prefix: PrefixCache, job: Job, prefill: Staging) -> None:
        missing = [
            (row, entry, prefix.missing(entry.tokens[: entry.length], entry.salt))
            for row, entry in enumerate(job.entries)
        ]
        missing = [(row, entry, blocks) for row, entry, blocks in missing if blocks]
        size = sum(len(blocks) for _, _, blocks in missing) * prefix.block_bytes
        if not missing or not self._room_for(prefix, size):
            return
        start = min(blocks.start for _, _, blocks in missing) * prefix.block
        end = max(blocks.stop for _, _, blocks in missing) * prefix.block
        keys = mx.stack([layer.keys[:, :, start:end] for layer in prefill.layers], axis=1)
        values = mx.stack([layer.values[:, :, start:end] for layer in prefill.layers], axis=1)
        for row, entry, blocks in missing:
            first, last = blocks.start * prefix.block - start, blocks.stop * prefix.block - start
            prefix.insert(
                entry.tokens,
                entry.salt,
                keys[row][:, :, first:last],
                values[row][:, :, first:last],
                blocks.start,
            )

    def keep_outputs(self, batch: list[Sequence], gone: Iterable[Sequence]) -> None:
        """Put the answers of ending conversations into the prefix cache, for the next turn."""
        prefix, runner = self.prefix, self.runner
        if prefix is None or not isinstance(runner, SlotRunner):
            return
        for sequence in gone:
            if not sequence.keeps_output:
                continue
            known = (sequence.prompt + sequence.output)[: sequence.length]
            blocks = prefix.missing(known, sequence.salt)
            if not blocks or not self._room_for(prefix, len(blocks) * prefix.block_bytes):
                continue
            start, end = blocks.start * prefix.block, blocks.stop * prefix.block
            keys, values = runner.read(batch.index(sequence), start, end)
            prefix.insert(known, sequence.salt, keys, values, blocks.start)

    def clear(self) -> None:
        """Forget prefills and prefixes, after a failed step."""
        for job in list(self._open):
            self.close(job)
        if self.prefix is not None:
            self.prefix.evict(self.prefix.nbytes)

    def _staged(self) -> int:
        return sum(job.prefill.nbytes for job in self._open if job.prefill is not None)

    def _evict(self, held: int) -> None:
        """Let prefixes go until they fit beside ``held`` bytes of rows and prefills."""
        if self.prefix is not None:
            over = held + self.prefix.nbytes - self.total
            if over > 0:
                self.prefix.evict(over)

    def _room_for(self, prefix: PrefixCache, size: int) -> bool:
        held = self.runner.nbytes + self._staged() + size
        if held > self.total:
            return False
        prefix.evict(held + prefix.nbytes - self.total)
        return True


class Room:
    """Adds up what admitted entries will need."""

    def __init__(self, memory: Memory) -> None:
        self._runner = memory.runner
        self._total = memory.total
        self._rows = 0
        self._length = 1
        self._staging = 0

    def add_row(self, sequence: Sequence) -> None:
        """Count a row that runs or will."""
        self._rows += 1
        self._length = max(self._length, _soon(sequence))

    def add(self, entry: Entry) -> None:
        """Count an entry's prefill and rows."""
        self._staging += self._runner.prefill_cost(1, entry.length)
        for sequence in entry.live:
            self.add_row(sequence)

    def take(self, entry: Entry) -> bool:
        """Count ``entry`` if there is room for it beside all counted so far."""
        before = self._rows, self._length, self._staging
        self.add(entry)
        if self._runner.cost(self._rows, self._length) + self._staging <= self._total:
            return True
        self._rows, self._length, self._staging = before
        return False


def _soon(sequence: Sequence) -> int:
    """Positions a sequence needs now and for the next steps."""
    now = len(sequence.prompt) + max(len(sequence.output), sequence.launched)
    return min(now + _HEADROOM, sequence.final_length)
