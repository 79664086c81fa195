"""Who may hold how much KV memory: running rows, prefills, shared prefixes.

Running rows come first, then prefills, then prefixes, which are evicted for either. All of
it together stays within one budget; the core asks here before it grows anything.
"""

from __future__ import annotations

from collections.abc import Iterable

import mlx.core as mx

from .kv.budget import describe_bytes
from .kv.prefix import PrefixCache
from .kv.staging import Staging
from .model.runner import Prefill, Runner
from .model.slots import SlotRunner
from .errors import ResourceExhausted
from .scheduler import Entry, Job
from .sequence import Sequence

# Positions a row is given beyond what it needs now, so that it does not grow every step.
_HEADROOM = 64
# GPU kernels are prepared per shape: chunks of a prefill come in these lengths there.
_CHUNK = 64


class Memory:
    """The budget of one engine, in bytes of KV memory."""

    def __init__(self, total: int, runner: Runner, prefix: PrefixCache | None) -> None:
        self.total = total
        self.runner = runner
        self.prefix = prefix
        self.on_gpu = mx.default_device().type == mx.DeviceType.gpu
        self._open: list[Job] = []

    @property
    def used(self) -> int:
        """Bytes held by rows, prefills and prefixes."""
        return self.runner.nbytes + self._staged() + (self.prefix.nbytes if self.prefix else 0)

    def check(self, prompt: int, max_tokens: int, n: int) -> None:
        """Refuse what could never fit. Any thread may call it."""
        needed = self.runner.cost(n, prompt + max_tokens) + self.runner.cost(1, prompt)
        if needed > self.total:
            raise ResourceExhausted(
                f"the request may need {describe_bytes(needed)} of KV memory for {prompt} prompt "
                f"tokens and {n} x {max_tokens} new ones, but only {describe_bytes(self.total)} "
                "exist; lower max_tokens or n",
                reason="REQUEST_TOO_LARGE",
                retry_after=None,
            )

    def longest(self, prompt: int, n: int, limit: int) -> int:
        """The most new tokens up to ``limit`` that could ever fit, at least 1."""
        low, high = 1, max(limit, 1)
        while low < high:
            middle = (low + high + 1) // 2
            needed = self.runner.cost(n, prompt + middle) + self.runner.cost(1, prompt)
            low, high = (middle, high) if needed <= self.total else (low, middle - 1)
        return low

    def room(self, batch: list[Sequence], jobs: list[Job]) -> Room:
        """What is left beside the running rows and the prefills under way."""
        room = Room(self)
        for sequence in batch:
            room.add_row(sequence)
        for entry in (e for job in jobs for e in job.entries if not e.joined):
            room.add(entry)
        return room

    def cached(self, entry: Entry) -> int:
        """Tokens of an admitted entry that come from the prefix cache."""
        if self.prefix is None:
            return 0
        found = len(entry.chain) * self.prefix.block
        self.prefix.count(len(entry.tokens), found)
        return found

    def open(self, job: Job) -> Prefill:
        """Memory for a job's prompts, begun with what is cached of them."""
        length = job.length
        if self.on_gpu:
            length = -(-length // _CHUNK) * _CHUNK
        prefill = self.runner.open(len(job.entries), length)
        self._open.append(job)
        if self.prefix is not None and isinstance(prefill, Staging):
            self.prefix.load(prefill, [entry.chain for entry in job.entries])
        for entry in job.entries:
            entry.chain = []
        return prefill

    def chunk(self, job: Job, budget: int) -> int:
        """Positions that the next chunk of ``job`` covers, for ``budget`` tokens in all."""
        assert job.prefill is not None
        active = sum(e.length > job.prefill.offset for e in job.entries)
        left = job.length - job.prefill.offset
        share = max(1, budget // active)
        if not self.on_gpu:
            return min(share, left)
        share = -(-share // _CHUNK) * _CHUNK
        # The last chunk is filled up to a whole one; its memory was opened for that.
        return min(share, -(-left // _CHUNK) * _CHUNK)

    def reserve(self, batch: list[Sequence], joining: list[Sequence]) -> bool:
        """Hold rows for ``joining`` beside ``batch``; False when there is no room."""
        return self._reserve(batch + joining, max(_soon(s) for s in batch + joining))

    def grow(self, batch: list[Sequence]) -> bool:
        """Hold a position for every row's next token; False when there is no room."""
        length = max(s.length for s in batch) + 1
        if self.runner.holds(len(batch), length):
            return True
        if self._reserve(batch, max(_soon(s) for s in batch)):
            return True
        if not self.evict_for(self.runner.cost(len(batch), length) + self._staged()):
            return False
        self.runner.reserve(len(batch), length, exact=True)
        return True

    def _reserve(self, rows: list[Sequence], length: int) -> bool:
        """Room for ``rows``, to their full lengths where that is cheap."""
        full = max(s.final_length for s in rows)
        if self.runner.cost(len(rows), full) + self._staged() <= self.total // 2:
            length = full
        if not self.evict_for(self.runner.cost(len(rows), length) + self._staged()):
            return False
        self.runner.reserve(len(rows), length)
        return True

    def keep_prompts(self, job: Job) -> None:
        """Put a finished job's prompts into the prefix cache, and let its memory go."""
        prefill = job.prefill
        job.prefill = None
        if job in self._open:
            self._open.remove(job)
        if self.prefix is None or not isinstance(prefill, Staging):
            return
        missing = [
            (row, entry, self.prefix.missing(entry.tokens[: entry.length], entry.salt))
            for row, entry in enumerate(job.entries)
        ]
        missing = [(row, entry, blocks) for row, entry, blocks in missing if blocks]
        size = sum(len(blocks) for _, _, blocks in missing) * self.prefix.block_bytes
        if not missing or not self._room_for_prefix(size):
            return
        block = self.prefix.block
        start = min(blocks.start for _, _, blocks in missing) * block
        end = max(blocks.stop for _, _, blocks in missing) * block
        keys = mx.stack([layer.keys[:, :, start:end] for layer in prefill.layers], axis=1)
        values = mx.stack([layer.values[:, :, start:end] for layer in prefill.layers], axis=1)
        for row, entry, blocks in missing:
            first, last = blocks.start * block - start, blocks.stop * block - start
            self.prefix.insert(
                entry.tokens,
                entry.salt,
                keys[row][:, :, first:last],
                values[row][:, :, first:last],
                blocks.start,
            )

    def keep_outputs(self, batch: list[Sequence], gone: Iterable[Sequence]) -> None:
        """Put the answers of ending conversations into the prefix cache, for the next turn."""
        if self.prefix is None or not isinstance(self.runner, SlotRunner):
            return
        for sequence in gone:
            if not sequence.keeps_output:
                continue
            known = (sequence.prompt + sequence.output)[: sequence.length]
            blocks = self.prefix.missing(known, sequence.salt)
            if not blocks or not self._room_for_prefix(len(blocks) * self.prefix.block_bytes):
                continue
            start, end = blocks.start * self.prefix.block, blocks.stop * self.prefix.block
            keys, values = self.runner.read(batch.index(sequence), start, end)
            self.prefix.insert(known, sequence.salt, keys, values, blocks.start)

    def clear(self) -> None:
        """Forget prefills, after a failed step."""
        self._open.clear()
        if self.prefix is not None:
            self.prefix.evict(self.prefix.nbytes)

    def _staged(self) -> int:
        return sum(job.prefill.nbytes for job in self._open if job.prefill is not None)

    def evict_for(self, needed: int) -> bool:
        """Whether ``needed`` bytes for rows and prefills fit, prefixes giving way."""
        if needed > self.total:
            return False
        if self.prefix is not None:
            over = needed + self.prefix.nbytes - self.total
            if over > 0:
                self.prefix.evict(over)
        return True

    def _room_for_prefix(self, size: int) -> bool:
        assert self.prefix is not None
        free = self.total - self.runner.nbytes - self._staged()
        if size > free:
            return False
        over = self.prefix.nbytes + size - free
        if over > 0:
            self.prefix.evict(over)
        return True


class Room:
    """Adds up what admitted entries will need."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._rows = 0
        self._length = 1
        self._staging = 0

    def add_row(self, sequence: Sequence) -> None:
        """Count a row that runs or will."""
        self._rows += 1
        self._length = max(self._length, _soon(sequence))

    def add(self, entry: Entry) -> None:
        """Count an entry's prefill and rows."""
        self._staging += self._memory.runner.cost(1, entry.length)
        for sequence in entry.live:
            self.add_row(sequence)

    def take(self, entry: Entry) -> bool:
        """Count ``entry`` if there is room for it beside all counted so far."""
        before = self._rows, self._length, self._staging
        self.add(entry)
        runner = self._memory.runner
        if self._memory.evict_for(runner.cost(self._rows, self._length) + self._staging):
            return True
        self._rows, self._length, self._staging = before
        return False


def _soon(sequence: Sequence) -> int:
    """Positions a sequence needs now and for the next steps."""
    now = len(sequence.prompt) + max(len(sequence.output), sequence.launched)
    return min(now + _HEADROOM, sequence.final_length)
