"""The C library's door: its commands, on one asyncio loop."""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from mlxforge.engine.device import DeviceThread
from mlxforge.engine.errors import (
    Cancelled,
    EngineError,
    InternalError,
    InvalidRequest,
    Unimplemented,
)

from ..api import Api
from ..config import ConfigError, Settings, settings_from
from ..errors import engine_error
from .call import Call, finish_with
from .host import Command, Host, Kind
from .log import HostLog

_log = logging.getLogger("mlxforge.embedded")

STOP_SECONDS = 2.0

OpenApi = Callable[[Settings], Awaitable[Api]]
"""Loads the models of some settings. Raises ``EngineError``."""


def serve(host: Host, open_api: OpenApi) -> None:
    """Serve the host's commands on the calling thread until it says to stop."""
    loop = asyncio.new_event_loop()
    door = Door(host, open_api, loop)
    if not host.owns_python:
        atexit.register(door.stop_from_another_thread)
    try:
        loop.run_until_complete(door.run())
    finally:
        door.stopped.set()
        loop.close()
        if host.owns_python:  # the process ends: MLX's static objects are about to be destroyed
            DeviceThread.stop_shared()


class Door:
    """The engines and calls of the host. All but ``stop_from_another_thread`` is the loop's."""

    def __init__(self, host: Host, open_api: OpenApi, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._open_api = open_api
        self._loop = loop
        self._log = HostLog(host)
        self._stop = asyncio.Event()
        self._engines: dict[int, _Engine] = {}
        self._calls: dict[int, tuple[Call, asyncio.Task[None]]] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopped = threading.Event()

    async def run(self) -> None:
        """Serve until told to stop, then abandon loads and close all engines."""
        self._log.attach()
        self._loop.add_reader(self._host.fd, self._drain)
        self._host.serving()
        await self._stop.wait()
        self._loop.remove_reader(self._host.fd)
        for opening in self._opening:
            opening.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        await asyncio.gather(*(self._close(number) for number in list(self._engines)))
        self._log.detach()

    def stop_from_another_thread(self) -> None:
        """Stop, as Python's own exit does; returns once all engines are closed."""
        if not self.stopped.is_set():
            self._loop.call_soon_threadsafe(self._stop.set)
            self.stopped.wait(STOP_SECONDS)

    def _drain(self) -> None:
        while (fields := self._host.poll()) is not None:
            command = Command(*fields)
            try:
                self._do(command)
            except Exception as error:  # a fault of ours ends that one call, never the loop
                finish_with(self._host, command.call, engine_error(error, str(command.call)))

    def _do(self, command: Command) -> None:
        match command.kind:
            case Kind.START:
                self._start(command)
            case Kind.OPEN:
                opening = self._spawn(self._answer(command, self._open(command)))
                self._opening.add(opening)
                opening.add_done_callback(self._opening.discard)
            case Kind.CLOSE:
                self._spawn(self._answer(command, self._close(command.engine)))
            case Kind.LOG:
                self._log.set_level(command.number)
            case Kind.STOP:
                self._stop.set()
            case _:
                self._tell(command)

    def _start(self, command: Command) -> None:
        engine = self._engines.get(command.engine)
        if engine is None:  # closed since
            finish_with(self._host, command.call, Cancelled("the engine was closed"))
            return
        method = engine.api.methods.get((command.method or b"").decode(errors="replace"))
        if method is None:
            known = ", ".join(sorted(engine.api.methods))
            error = Unimplemented(f"method: there is no {command.method!r}; there are: {known}")
            finish_with(self._host, command.call, error)
            return
        call = Call(self._host, command, method, engine.settings.max_message_bytes)
        task = self._spawn(call.run())
        self._calls[command.call] = (call, task)
        engine.calls.add(command.call)
        task.add_done_callback(lambda _: self._ended(command))

    def _ended(self, command: Command) -> None:
        self._calls.pop(command.call, None)
        if (engine := self._engines.get(command.engine)) is not None:
            engine.calls.discard(command.call)

    def _tell(self, command: Command) -> None:
        if command.call not in self._calls:  # it has ended meanwhile
            return
        call, task = self._calls[command.call]
        match command.kind:
            case Kind.SEND:
                call.send(command.payload)
            case Kind.RESUME:
                call.resume()
            case Kind.CANCEL:
                task.cancel()

    async def _answer(self, command: Command, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except EngineError as error:
            finish_with(self._host, command.call, error)
        except Exception as error:  # told in full: the one who asks is the one who runs it
            _log.exception("an engine could not be opened or closed")
            told = InternalError(f"{type(error).__name__}: {error}")
            finish_with(self._host, command.call, told)
        else:
            self._host.finish(command.call, 0, "", b"")

    async def _open(self, command: Command) -> None:
        settings = _settings(command.payload or b"{}")
        api = await self._open_api(settings)
        self._engines[command.engine] = _Engine(api, settings)
        if self._host.owns_python:
            gc.freeze()  # looking through engines for garbage stops all calls for 40 ms

    async def _close(self, number: int) -> None:
        engine = self._engines.pop(number, None)
        if engine is None:
            return
        tasks = [self._calls[call][1] for call in engine.calls]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await engine.api.registry.close()
        if self._host.owns_python:
            gc.unfreeze()  # what is garbage now is found again

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)  # the loop keeps weak references only
        task.add_done_callback(self._tasks.discard)
        return task


class _Engine:
    """What one ``mlxforge_engine_open`` has opened."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self.api = api
        self.settings = settings
        self.calls: set[int] = set()


def _settings(config_json: bytes) -> Settings:
    try:
        mapping = json.loads(config_json)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest.of("config_json", f"is not JSON: {error}") from error
    if not isinstance(mapping, dict):
        raise InvalidRequest.of("config_json", "must be a JSON object")
    try:
        return settings_from(mapping, "config_json")
    except ConfigError as error:
        raise InvalidRequest.of("config_json", str(error)) from error
