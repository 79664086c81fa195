"""Clients that keep a server busy and know of each request how it ended."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from ..faults.live import CODE, Outcome, Request, Stubs, request, stream

# What a reader waits for at most; one that waits longer is hung.
PATIENCE = 300.0


@dataclass
class Load:
    """Streams of one model, one after the other on each of ``width`` clients, until stopped."""

    stubs: Stubs
    model: str
    width: int
    tokens: int
    expected: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    started: int = 0
    ended: int = 0
    running: int = 0
    """Streams whose first token is there."""
    faults: list[str] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: bool = False

    async def begin(self) -> None:
        """Ask once alone, so that it is known what all others must get; then keep asking."""
        alone = await stream(self.stubs, self.asked(self.tokens))
        if not alone.whole:
            raise RuntimeError(f"{self.model} does not answer: {alone.details}")
        self.expected = alone.tokens
        self._tasks = [asyncio.create_task(self._client(i)) for i in range(self.width)]

    def asked(self, tokens: int) -> Request:
        return request(tokens=tokens, model=self.model)

    async def end(self) -> None:
        """No more requests; waits for those under way."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _client(self, number: int) -> None:
        dice = random.Random(number)
        while not self._stopping:
            tokens = dice.randint(self.tokens // 2, self.tokens)
            first = asyncio.Event()
            self.started += 1
            task = asyncio.create_task(stream(self.stubs, self.asked(tokens), first))
            waiter = asyncio.create_task(first.wait())
            await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
            self.running += first.is_set()
            try:
                outcome = await asyncio.wait_for(task, PATIENCE)
                self._judge(outcome, tokens)
            except TimeoutError:
                self.counts["hung"] += 1
            self.running -= first.is_set()
            self.ended += 1
            waiter.cancel()
            if self.counts and not task.cancelled() and not task.result().whole:
                await asyncio.sleep(0.05)

    def _judge(self, outcome: Outcome, tokens: int) -> None:
        """Count it; what must not be goes into ``faults``."""
        begun = "" if outcome.code is CODE.OK else (" begun" if outcome.tokens else " refused")
        self.counts[outcome.code.name + begun] += 1
        if outcome.tokens != self.expected[: len(outcome.tokens)]:
            self.faults.append(f"other tokens than alone, {outcome.code.name}")
        if outcome.finished > 1 or (outcome.finished and outcome.code is not CODE.OK):
            self.faults.append(f"ended {outcome.finished} times, {outcome.code.name}")
        if outcome.code is CODE.OK and len(outcome.tokens) != tokens:
            self.faults.append(f"{len(outcome.tokens)} tokens of {tokens}")
