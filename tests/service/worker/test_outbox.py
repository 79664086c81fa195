"""A front that does not read fills nobody's memory, and misses nothing when it reads again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from mlxforge.engine.errors import ResourceExhausted
from mlxforge.engine.output import Finish, FinishReason, Timings, Usage
from mlxforge.engine.stats import EngineStats
from mlxforge.service.worker import messages as m
from mlxforge.service.worker.outbox import Outbox

from ..serving import until
from .test_link import End

BEAT = m.Beat(True, 0.0, EngineStats())
LAST = Finish(FinishReason.STOP, Usage(), Timings())


class Worker:
    """A worker's end whose front has not read a message yet."""

    def __init__(self, end: End, raw: socket.socket, max_entries: int) -> None:
        self.end, self.raw = end, raw
        self.abandoned: list[int] = []
        self.front: End
        self.outbox = Outbox(end.link, self.abandoned.append, max_entries)

    async def fill(self) -> None:
        """Send until the front is behind."""
        while not self.end.link.congested:
            self.outbox.send(m.Vectors(99, bytes(2**20)))
            await asyncio.sleep(0)

    async def read(self) -> list[m.ToFront]:
        """The front reads all there is."""
        front = self.front = await End().open(self.raw, m.to_front)
        await until(lambda: not self.end.link.congested)
        self.outbox.catch_up()
        self.outbox.send(m.Text(98, "last"))
        await until(lambda: any(m.Text(98, "last") in frame for frame in front.frames))
        return [message for frame in front.frames for message in frame]


@pytest.fixture(params=[1_000_000, 1000], ids=["room", "too much"])
async def worker(request: pytest.FixtureRequest) -> AsyncIterator[Worker]:
    ours, theirs = socket.socketpair()
    end = await End().open(theirs, m.to_worker)
    worker = Worker(end, ours, request.param)
    yield worker
    worker.front.link.close()
    end.link.close()
    await until(lambda: bool(end.faults and worker.front.faults))


async def test_a_front_that_is_behind(worker: Worker) -> None:
    worker.outbox.send(m.Piece(1, 0, "a", (0,)))
    await worker.fill()
    waiting = worker.end.link.backlog
    for i in range(1, 20_000):
        for index in (0, 1):
            worker.outbox.send(m.Piece(1, index, "a", (i,)))
        worker.outbox.send(BEAT)
    worker.outbox.send(m.Piece(1, 0, "", (), finish=LAST))
    worker.outbox.send(m.Text(2, "of another call"))
    await asyncio.sleep(0)
    assert worker.end.link.backlog == waiting and len(worker.outbox._held) < 10_000
    worker.outbox.catch_up()
    assert worker.end.link.backlog == waiting, "it is still behind"
    found = await worker.read()
    pieces = [p for p in found if isinstance(p, m.Piece) and p.call == 1]
    failures = [f for f in found if isinstance(f, m.Failure)]
    assert m.Text(2, "of another call") in found
    if worker.abandoned:
        assert set(worker.abandoned) == {1} and failures
        assert isinstance(m.error_of(failures[0]), ResourceExhausted)
        assert failures[0].reason == "SLOW_READER"
        return
    assert not failures
    choice = [piece for piece in pieces if piece.index == 0]
    assert [i for piece in choice for i in piece.token_ids] == list(range(20_000))
    assert choice[-1].finish == LAST and not any(piece.finish for piece in choice[:-1])
    assert len(choice) < 10


async def test_both_ends_of_the_bound_are_met(worker: Worker) -> None:
    await worker.fill()
    for i in range(2000):
        worker.outbox.send(m.Piece(1, 0, "a", (i,)))
    await worker.read()
    assert bool(worker.abandoned) == (worker.outbox._max_entries < 2000)
