"""The Python half of the C library against a host in Python: commands in, answers out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections import deque
from typing import Any

import pytest
from google.rpc import code_pb2, status_pb2

from mlxforge.engine.errors import LoadError
from mlxforge.engine.output import Capability
from mlxforge.service.api import Api
from mlxforge.service.config import Settings
from mlxforge.service.embedded.codec import Codec
from mlxforge.service.embedded.door import Door
from mlxforge.service.embedded.host import Command, Host, Kind, Room
from mlxforge.service.registry import Registry

from ..fakes import FakeEngine
from ..serving import until

GENERATE = b"mlxforge.v1.GenerationService/StreamGenerate"
EMBED_STREAM = b"mlxforge.v1.EmbeddingService/StreamEmbed"


class CHost:
    """What the C library keeps, with a queue of two messages for each call."""

    def __init__(self, room: int = 1000, *, owns_python: bool = False) -> None:
        self.commands: deque[Command] = deque()
        self.messages: dict[int, list[bytes]] = {}
        self.ends: dict[int, list[tuple[int, str, bytes]]] = {}
        self.taken: dict[int, int] = {}
        self.room = room
        self.gone: set[int] = set()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self.host = Host(
            owns_python, self._read, self._poll, self._message, self._finish, self._taken,
            lambda *_: None, lambda: None,
        )  # fmt: skip

    def tell(self, kind: Kind, call: int = 0, **fields: Any) -> None:
        command = Command(kind, call, 1, Codec.JSON, Codec.JSON, -1, method=None, payload=None)
        self.commands.append(command._replace(**fields))
        os.write(self._write, b"x")

    async def end_of(self, call: int) -> tuple[int, str, bytes]:
        await until(lambda: call in self.ends)
        assert len(self.ends[call]) == 1
        return self.ends[call][0]

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)

    def _poll(self) -> Any:
        if self.commands:
            return tuple(self.commands.popleft())
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 100)
        return None

    def _message(self, call: int, data: bytes) -> int:
        if call in self.gone:
            return Room.GONE
        self.messages.setdefault(call, []).append(data)
        return Room.FULL if len(self.messages[call]) % self.room == 0 else Room.LEFT

    def _finish(self, call: int, code: int, message: str, status: bytes) -> None:
        self.ends.setdefault(call, []).append((code, message, status))

    def _taken(self, call: int, size: int) -> None:
        self.taken[call] = self.taken.get(call, 0) + size


class Running:
    """A door on this loop, with engine 1 open on a scripted model."""

    def __init__(self, c: CHost) -> None:
        self.c = c
        self.opening = asyncio.Event()
        self.engine = FakeEngine("fake", frozenset({Capability.GENERATE, Capability.EMBED}))
        self._door = Door(c.host, self._open_api, asyncio.get_running_loop())
        self._task = asyncio.create_task(self._door.run())

    async def _open_api(self, settings: Settings) -> Api:
        if settings.model == ("missing",):
            raise LoadError("no such model")
        if settings.model == ("broken",):
            raise RuntimeError("disk on fire")
        if settings.model == ("slow",):
            self.opening.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.opening.clear()
        registry = Registry()
        registry.add("fake", self.engine)
        await registry.load("fake")
        return Api(registry, settings.limits)

    async def __aenter__(self) -> Running:
        self.c.tell(Kind.OPEN, 100, payload=b'{"max_message_bytes": 1000}')
        assert (await self.c.end_of(100))[0] == 0
        return self

    async def __aexit__(self, *_: object) -> None:
        self.c.tell(Kind.STOP)
        await asyncio.wait_for(self._task, 5)
        assert self.engine.live == 0
        self.c.close()


async def test_a_stream_ends_once() -> None:
    async with Running(c := CHost()) as _:
        c.tell(Kind.START, 7, method=GENERATE, payload=b'{"prompt": "a b", "max_tokens": 3}')
        assert await c.end_of(7) == (0, "", b"")
        assert len(c.messages[7]) >= 2


@pytest.mark.parametrize("owns_python", [True, False])
async def test_engines_are_no_matter_of_our_garbage_collector(owns_python: bool) -> None:
    async with Running(c := CHost(owns_python=owns_python)):
        assert (gc.get_freeze_count() > 10_000) is owns_python
        c.tell(Kind.CLOSE, 8)
        assert (await c.end_of(8))[0] == 0
        assert gc.get_freeze_count() == 0


async def test_a_full_host_is_waited_for() -> None:
    async with Running(c := CHost(room=2)) as running:
        request = b'{"prompt": "a b", "max_tokens": 9}'
        c.tell(Kind.START, 7, method=GENERATE, payload=request)
        await asyncio.sleep(0.05)
        assert len(c.messages[7]) == 2 and 7 not in c.ends
        while 7 not in c.ends:
            c.tell(Kind.RESUME, 7)
            await asyncio.sleep(0.01)
        assert len(c.messages[7]) > 2 and running.engine.live == 0


@pytest.mark.parametrize("way", ["cancel", "gone", "close"])
async def test_what_is_not_wanted_is_freed(way: str) -> None:
    async with Running(c := CHost()) as running:
        running.engine.script.word_seconds = 0.005
        request = b'{"prompt": "a", "max_tokens": 1000}'
        c.tell(Kind.START, 7, method=GENERATE, payload=request)
        await until(lambda: running.engine.live > 0)
        if way == "cancel":
            c.tell(Kind.CANCEL, 7)
        elif way == "gone":
            c.gone.add(7)
        else:
            c.tell(Kind.CLOSE, 101)
            assert (await c.end_of(101))[0] == 0 and running.engine.closed
        await until(lambda: running.engine.live == 0)


async def test_requests_of_a_stream_are_counted_when_taken() -> None:
    async with Running(c := CHost()) as _:
        item = b'{"inputs": [{"text": "ab"}]}'
        c.tell(Kind.START, 7, method=EMBED_STREAM)
        for _ in range(3):
            c.tell(Kind.SEND, 7, payload=item)
        c.tell(Kind.SEND, 7, payload=None)
        assert (await c.end_of(7))[0] == 0
        assert len(c.messages[7]) == 3 and c.taken[7] == 3 * len(item)
        c.tell(Kind.SEND, 7, payload=item)  # too late: nobody is there
        c.tell(Kind.RESUME, 7)
        c.tell(Kind.CANCEL, 7)


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"method": b"no/such"}, code_pb2.UNIMPLEMENTED, "method: there is no b'no/such'"),
        ({"method": b"\xff/\xff"}, code_pb2.UNIMPLEMENTED, "method"),
        ({"payload": b"{"}, code_pb2.INVALID_ARGUMENT, "request"),
        ({"payload": b" " * 1001}, code_pb2.INVALID_ARGUMENT, "max_message_bytes"),
        ({"payload": None}, code_pb2.INVALID_ARGUMENT, "prompt"),
        ({"payload": b'{"prompt":"a"}', "number": 0}, code_pb2.DEADLINE_EXCEEDED, "deadline"),
        ({"engine": 2}, code_pb2.CANCELLED, "closed"),
    ],
)
async def test_errors_carry_a_status(fields: dict[str, Any], code: int, named: str) -> None:
    async with Running(c := CHost()) as _:
        c.tell(Kind.START, 7, **{"method": GENERATE, "payload": b'{"prompt": "a"}', **fields})
        found, message, details = await c.end_of(7)
        status = status_pb2.Status.FromString(details)
        assert (found, status.code) == (code, code) and named in message
        assert any("ErrorInfo" in detail.type_url for detail in status.details)


@pytest.mark.parametrize(
    ("config", "code", "named"),
    [
        (b"[", code_pb2.INVALID_ARGUMENT, "config_json"),
        (b"[]", code_pb2.INVALID_ARGUMENT, "config_json"),
        (b'{"modle": "x"}', code_pb2.INVALID_ARGUMENT, "modle"),
        (b'{"model": "missing"}', code_pb2.FAILED_PRECONDITION, "no such model"),
        (b'{"model": "broken"}', code_pb2.INTERNAL, "disk on fire"),
    ],
)
async def test_open_says_what_is_wrong(config: bytes, code: int, named: str) -> None:
    async with Running(c := CHost()) as _:
        c.tell(Kind.OPEN, 8, engine=5, payload=config)
        found, message, _details = await c.end_of(8)
        assert found == code and named in message


async def test_a_stop_abandons_what_is_being_opened() -> None:
    async with Running(c := CHost()) as running:
        c.tell(Kind.OPEN, 8, engine=5, payload=b'{"model": "slow"}')
        await asyncio.wait_for(running.opening.wait(), 5)
    assert not running.opening.is_set()
