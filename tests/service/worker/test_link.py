"""Frames over a real socket pair."""

from __future__ import annotations

import asyncio
import os
import socket
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from mlxforge.engine.errors import InternalError, ResourceExhausted
from mlxforge.service.worker import link as link_module
from mlxforge.service.worker import messages as m
from mlxforge.service.worker.link import MAX_FRAME_BYTES, BadFrame, Link

from ..serving import until


class End:
    """A link and what it said."""

    def __init__(self) -> None:
        self.frames: list[list[Any]] = []
        self.faults: list[BadFrame | None] = []
        self.refused: list[tuple[m.Message, Exception]] = []
        self.link: Link[Any]

    async def open(self, end: socket.socket, decoder: Any) -> End:
        self.link = await Link.open(
            end,
            decoder,
            self.frames.append,
            self.faults.append,
            lambda *refused: self.refused.append(refused),
        )
        return self


@pytest.fixture
async def worker_and_raw() -> AsyncIterator[tuple[End, socket.socket]]:
    """A worker's end, and the bare socket at the other."""
    ours, theirs = socket.socketpair()
    end = await End().open(theirs, m.to_worker)
    yield end, ours
    end.link.close()
    ours.close()
    await until(lambda: bool(end.faults))


def frame(*messages: m.Message) -> bytes:
    data = msgspec.msgpack.encode(messages)
    return len(data).to_bytes(4, "big") + data


async def test_a_turn_of_the_loop_is_one_frame() -> None:
    ours, theirs = socket.socketpair()
    front = await End().open(ours, m.to_front)
    worker = await End().open(theirs, m.to_worker)
    pieces = [m.Piece(call, 0, "x", (call,)) for call in range(128)]
    for piece in pieces:
        worker.link.send(piece)
    await until(lambda: bool(front.frames))
    assert front.frames == [pieces]
    worker.link.send(m.Text(1, "last words"))
    worker.link.close()
    await until(lambda: bool(front.faults))
    assert front.frames[1:] == [[m.Text(1, "last words")]] and front.faults == [None]
    front.link.send(m.Abort(1))  # to nobody


async def test_frames_arrive_in_pieces(worker_and_raw: tuple[End, socket.socket]) -> None:
    worker, raw = worker_and_raw
    data = frame(m.Abort(1), m.Abort(2)) + frame(m.Detokenize(3, tuple(range(1000)), True))
    for at in range(0, len(data), 7):
        raw.sendall(data[at : at + 7])
        await asyncio.sleep(0)
    await until(lambda: len(worker.frames) == 2)
    assert worker.frames[0] == [m.Abort(1), m.Abort(2)]
    assert worker.frames[1][0].token_ids[-1] == 999


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xff\xff\xff",
        (MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
        b"\x00\x00\x00\x05\xdd\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n" * 10,
        frame(m.Text(1, "a worker's message")),
        b"\x00\x00\x00\x00",
        frame(m.Abort(1))[:-1] + b"\xc1",
    ],
    ids=range(7),
)
async def test_garbage_ends_the_connection(
    garbage: bytes, worker_and_raw: tuple[End, socket.socket]
) -> None:
    worker, raw = worker_and_raw
    tracemalloc.start()
    raw.sendall(garbage)
    await until(lambda: bool(worker.faults))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(worker.faults[0], BadFrame) and not worker.frames
    assert peak < 2**20, "memory by a length that was only claimed"


async def test_random_bytes_are_survived(worker_and_raw: tuple[End, socket.socket]) -> None:
    worker, raw = worker_and_raw
    raw.sendall(b"\x00\x00\x10\x00" + os.urandom(4096))
    await until(lambda: bool(worker.faults))
    assert isinstance(worker.faults[0], BadFrame)


async def test_what_cannot_travel_is_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "MAX_FRAME_BYTES", 2**21)
    ours, theirs = socket.socketpair()
    front = await End().open(ours, m.to_front)
    worker = await End().open(theirs, m.to_worker)
    giant, odd = m.Text(2, "x" * 2**21), m.Text(3, "\ud800")
    for message in (m.Text(1, "a"), giant, odd, m.Text(4, "b")):
        worker.link.send(message)
    await until(lambda: bool(front.frames))
    assert [message.call for [*frame] in front.frames for message in frame] == [1, 4]
    (first, too_large), (second, unsendable) = worker.refused
    assert first is giant and isinstance(too_large, ResourceExhausted)
    assert second is odd and isinstance(unsendable, InternalError)
    worker.link.close()
    await until(lambda: bool(front.faults))


async def test_large_messages_go_in_frames_of_their_own() -> None:
    ours, theirs = socket.socketpair()
    front = await End().open(ours, m.to_front)
    worker = await End().open(theirs, m.to_worker)
    sent = [m.Vectors(call, bytes(2**20)) for call in range(8)]
    for message in sent:
        worker.link.send(message)
    await until(lambda: len(front.frames) == 8)
    assert front.frames == [[message] for message in sent]
    worker.link.close()
    await until(lambda: bool(front.faults))
