"""The life of a server process: listen, load, serve, drain, end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from mlxforge.engine.errors import EngineError, LoadError

from ..api import Api
from ..config import Settings
from ..registry import ModelEntry, Registry
from ..telemetry.telemetry import Telemetry
from .server import Server

_log = logging.getLogger("mlxforge.service.server")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Reporter:
    """Is told how the start goes. This one says nothing."""

    def listening(self, addresses: list[str]) -> None:
        """The server answers health checks; models are still to be loaded."""

    def loaded(self, entry: ModelEntry) -> None:
        """A model is ready or has failed."""

    def ready(self, registry: Registry, addresses: list[str]) -> None:
        """The server answers requests."""


async def run(settings: Settings, registry: Registry, reporter: Reporter) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends what still runs.

    Listens before the models are loaded, so that health can say NOT_SERVING and requests
    are told to come again. Raises ``BindError``, and ``LoadError`` when no model loads.
    """
    signals = _Signals()
    telemetry = Telemetry(settings, registry)
    server = Server(Api(registry, settings.limits, telemetry), settings)
    try:
        await server.start()
        telemetry.start()
        reporter.listening(server.addresses)
        if await signals.first_or(_load_all(registry, reporter)):
            reporter.ready(registry, server.addresses)
            await signals.first.wait()
            await signals.second_or(server.drain(settings.grace_seconds))
        else:
            await _abandon_load(server)
    finally:
        await server.stop()
        await registry.close()
        await asyncio.to_thread(telemetry.close)
        signals.release()


async def _load_all(registry: Registry, reporter: Reporter) -> None:
    """Load the models one after the other: one thread of the process owns the device."""
    failed: list[str] = []
    for entry in list(registry):
        try:
            await registry.load(entry.id)
        except Exception as error:
            fault = None if isinstance(error, EngineError) else error
            _log.error("model %s failed to load: %s", entry.id, entry.error, exc_info=fault)
            failed.append(entry.error)
        reporter.loaded(entry)
    if len(failed) == len(list(registry)):
        raise LoadError("no model could be loaded. " + "; ".join(failed))


async def _abandon_load(server: Server) -> None:
    """End the process although a thread still reads a model: nothing can stop it midway."""
    _log.info("stopped while loading")
    await server.stop()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class _Signals:
    """SIGTERM and SIGINT as events."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self._second = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            self._loop.add_signal_handler(number, self._received)

    async def first_or(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether the work was done before the first signal; its error is raised."""
        return await _before(self.first, work)

    async def second_or(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether the work was done before the second signal."""
        return await _before(self._second, work)

    def release(self) -> None:
        """Signals do again what they did before."""
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)

    def _received(self) -> None:
        (self._second if self.first.is_set() else self.first).set()


async def _before(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    task, signalled = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return task.done()
    finally:
        for pending in (task, signalled):
            pending.cancel()
        # Bounded: a load may not heed its cancellation, and a stop must not wait for it.
        await asyncio.wait({task, signalled}, timeout=1.0)
