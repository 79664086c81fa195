"""How models come and go: loads, unloads, and whoever must make room.

One loop runs all of it. What changes an entry is one of two tasks, its load or its unload;
whoever else wants the same waits for that task, whoever wants the opposite waits for its end.
Nothing is awaited while anything is held, so no model waits for another's load.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any

from mlxforge.engine.errors import Cancelled, EngineError, ResourceExhausted, Unavailable

from .entry import EngineFactory, ModelEntry, ModelState
from .footprint import resident_bytes
from .load import Load, LoadStep
from .room import Room

_log = logging.getLogger("mlxforge.service.models")

SETTLE_SECONDS = 1.0
"""How long an unloading waits for its requests to notice that the engine is closed."""
SWEEP_SECONDS = 0.5
"""How often models with an idle time-to-live are looked at."""


class _Later(Exception):
    """At start there is no room left: the model is loaded when it is asked for."""


OpenRoom = Callable[[], Coroutine[Any, Any, Room]]
"""Measures the room for all models. Asked once, before the first load."""


class Lifecycle:
    """Loads and unloads the entries of a registry."""

    def __init__(
        self,
        entries: Mapping[str, ModelEntry],
        changed: Callable[[], None],
        *,
        make: EngineFactory | None,
        open_room: OpenRoom | None,
        reload: bool,
        clock: Callable[[], float],
    ) -> None:
        """``reload``: what is unloaded here and not by a caller comes back on demand."""
        self.draining = False
        self.clock = clock
        self._entries = entries
        self._changed = changed
        self._make = make
        self._open_room = open_room
        self._room: asyncio.Task[Room] | None = None
        self._reload = reload
        self._sweeper: asyncio.Task[None] | None = None

    async def load(
        self, entry: ModelEntry, *, keep: bool = False
    ) -> AsyncGenerator[LoadStep, None]:
        """Load it, unless it is loaded. Waits for its unloading, joins its load.

        Closing the iterator cancels the load when nobody else waits for it, unless somebody
        wanted to ``keep`` it. Raises ``EngineError``.
        """
        while entry.state is not ModelState.READY or entry.unload is not None:
            if self.draining:
                raise Unavailable("the server is shutting down; ask another one", reason="DRAINING")
            load = entry.load
            if entry.unload is not None:
                await asyncio.wait({entry.unload})
                continue
            if load is not None and load.cancelled is not None:
                await asyncio.wait({load.task})
                continue
            if load is None:
                load = self._begin(entry)
            load.kept |= keep
            async with aclosing(load.watch()) as steps:
                async for step in steps:
                    yield step
            return

    def unload(self, entry: ModelEntry, grace: float, *, come_back: bool) -> asyncio.Task[int]:
        """Unload it; the task's result is the bytes given back.

        New requests are refused from now on, running ones end with ``Unavailable`` after
        ``grace`` seconds. ``come_back``: the next request loads it again.
        """
        entry.on_demand = come_back and self._reload
        if entry.unload is None:
            if entry.state is ModelState.READY:
                self._set(entry, ModelState.UNLOADING)
            name = f"mlxforge-unload-{entry.id}"
            entry.unload = asyncio.create_task(self._unload(entry, grace), name=name)
        return entry.unload

    def used(self, entry: ModelEntry, change: int) -> None:
        """Count a request that begins (1) or ends (-1)."""
        entry.running += change
        entry.last_used = self.clock()
        if entry.running:
            entry.idle.clear()
        else:
            entry.idle.set()

    def engine_changed(self, entry: ModelEntry, failure: EngineError | None) -> None:
        """A loaded engine fails, and tries to come back; or it came back."""
        if failure is not None and entry.state is ModelState.READY:
            entry.error, entry.state = failure.message, ModelState.FAILED
        elif failure is None and entry.state is ModelState.FAILED and entry.client.healthy:
            entry.error, entry.state = "", ModelState.READY
        self._changed()

    async def sweep(self) -> None:
        """Unload what was idle for as long as it may be."""
        now = self.clock()
        due = [
            entry
            for entry in self._entries.values()
            if entry.idling and entry.idle_ttl and now - entry.last_used >= entry.idle_ttl
        ]
        for entry in due:
            _log.info("model %s was idle for %g s", entry.id, entry.idle_ttl)
        await asyncio.gather(*(self.unload(entry, 0.0, come_back=True) for entry in due))

    async def close(self) -> None:
        """End all engines and loads."""
        self.draining = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        loads = [entry.load for entry in self._entries.values() if entry.load is not None]
        for load in loads:
            load.cancel(Cancelled("the engine was closed"))
        await asyncio.gather(*(entry.client.close() for entry in self._entries.values()))
        tasks: list[asyncio.Task[Any]] = [load.task for load in loads]
        tasks += [entry.unload for entry in self._entries.values() if entry.unload is not None]
        if tasks:
            await asyncio.wait(tasks)
        for entry in self._entries.values():
            entry.state, entry.granted = ModelState.UNLOADED, 0
        self._changed()

    def _begin(self, entry: ModelEntry) -> Load:
        load = entry.load = Load(entry.progress)
        self._set(entry, ModelState.LOADING)
        name = f"mlxforge-load-{entry.id}"
        load.task = asyncio.create_task(self._load(entry, load), name=name)
        return load

    async def _load(self, entry: ModelEntry, load: Load) -> Exception | None:
        started = time.monotonic()
        try:
            if self._make is not None:  # one that failed may still try to come back
                await self._let_go(entry)
            budget = await self._make_room(entry, load)
            if self._make is not None:
                entry.client = self._make(
                    entry.id, entry.source, progress=load.report, memory_budget=budget
                )
            await load.start(entry.client.start())
            entry.info = entry.client.info
        except _Later:
            entry.load, entry.on_demand = None, True
            self._set(entry, ModelState.UNLOADED)
            _log.info("model %s does not fit beside the others: loaded on demand", entry.id)
            return None
        except Exception as error:
            await self._let_go(entry)
            failed = load.cancelled is None and not isinstance(error, ResourceExhausted)
            entry.error = _told(error) if failed else ""
            entry.load = None
            self._set(entry, ModelState.FAILED if failed else ModelState.UNLOADED)
            return error
        entry.error, entry.load = "", None
        entry.ready_time, entry.last_used = time.time(), self.clock()
        self._set(entry, ModelState.READY)
        if self._room is not None:
            self._room.result().settle(entry)
        self._watch_idle(entry)
        _log.info("model %s is loaded after %.1f s", entry.id, time.monotonic() - started)
        return None

    async def _make_room(self, entry: ModelEntry, load: Load) -> int | None:
        """Bytes that it may hold, granted; who must go for it is gone."""
        if self._open_room is None:
            return None
        if self._room is None or (self._room.done() and self._room.exception() is not None):
            self._room = asyncio.create_task(self._open_room())
        room = await asyncio.shield(self._room)
        while victims := room.victims(entry, self._entries.values()):
            if entry.starting and self._reload:
                raise _Later
            for victim in victims:
                _log.info("model %s is unloaded to make room for %s", victim.id, entry.id)
            await asyncio.gather(*(self.unload(v, 0.0, come_back=True) for v in victims))
            if load.cancelled is not None:
                raise load.cancelled
        entry.granted = room.grant(entry, self._entries.values())
        return entry.granted

    async def _unload(self, entry: ModelEntry, grace: float) -> int:
        freed = 0
        try:
            if entry.load is not None:
                entry.load.cancel(self.going(entry))
                await asyncio.wait({entry.load.task})
            # A load may have come to its end just before.
            if entry.state in (ModelState.READY, ModelState.UNLOADING):
                self._set(entry, ModelState.UNLOADING)
                if not await _idle(entry, grace):
                    _log.warning("model %s: grace is over, %d end", entry.id, entry.running)
                freed = await self._free(entry)
            elif entry.state is ModelState.FAILED:
                await self._let_go(entry)
        finally:
            entry.unload, entry.error = None, ""
            self._set(entry, ModelState.UNLOADED)
        return freed

    async def _free(self, entry: ModelEntry) -> int:
        """Close its engine. Returns the bytes given back: what the processes' resident size
        lost, and at least the engine's weights and KV memory, which may lie on a device.
        """
        held = entry.info.weight_bytes if entry.info is not None else 0
        held += entry.client.stats.kv_used_bytes
        before = await resident_bytes()
        await self._let_go(entry)
        await _idle(entry, SETTLE_SECONDS)
        freed = max(held, before - await resident_bytes())
        _log.info("model %s is unloaded, %d MiB are free", entry.id, freed >> 20)
        return freed

    async def _let_go(self, entry: ModelEntry) -> None:
        try:
            await entry.client.close()
        except Exception:
            _log.exception("model %s was not closed in good order", entry.id)
        if self._make is not None:  # nothing of the old one is held
            entry.client = self._make(entry.id, entry.source)
        entry.granted = 0

    def going(self, entry: ModelEntry) -> Unavailable:
        """What requests are told whose model is unloaded."""
        return Unavailable(f"model {entry.id} is unloaded", reason="MODEL_UNLOADING")

    def _watch_idle(self, entry: ModelEntry) -> None:
        if entry.idle_ttl and (self._sweeper is None or self._sweeper.done()):
            self._sweeper = asyncio.create_task(self._sweep_on(), name="mlxforge-idle-models")

    async def _sweep_on(self) -> None:
        """Sweep while there are loaded models to look at."""
        while any(e.idle_ttl and e.state is ModelState.READY for e in self._entries.values()):
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep()

    def _set(self, entry: ModelEntry, state: ModelState) -> None:
        entry.state = state
        self._changed()


async def _idle(entry: ModelEntry, seconds: float) -> bool:
    """Wait for its running requests; whether all have ended."""
    if entry.running:
        try:
            async with asyncio.timeout(seconds):
                await entry.idle.wait()
        except TimeoutError:
            return False
    return True


def _told(error: Exception) -> str:
    return error.message if isinstance(error, EngineError) else repr(error)
