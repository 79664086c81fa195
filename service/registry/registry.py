"""The models the service knows, by id, and the engine behind each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from mlxforge.engine.client import EngineClient
from mlxforge.engine.errors import (
    Cancelled,
    EngineError,
    LoadError,
    ModelNotFound,
    ResourceExhausted,
    Unavailable,
    Unsupported,
)
from mlxforge.engine.output import Capability

from .entry import EngineFactory, ModelEntry, ModelState
from .lifecycle import Lifecycle, OpenRoom
from .load import LoadStep
from .settings import ModelsSettings
from .sources import Sources, checked_id

if TYPE_CHECKING:
    from mlxforge.engine.loader import ProgressCallback


class Registry:
    """Model id to engine. Used on one asyncio loop; changes of state call ``listeners``."""

    def __init__(
        self,
        make: EngineFactory | None = None,
        settings: ModelsSettings | None = None,
        *,
        sources: Sources | None = None,
        open_room: OpenRoom | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``make``: for models that are loaded later; without it only engines that ``add`` is
        given are. ``open_room``: None: models may hold whatever their engines' settings say.
        """
        self.listeners: list[Callable[[], None]] = []
        self.settings = settings or ModelsSettings()
        self._make = make
        self._sources = sources or Sources(self.settings.allow)
        self._entries: dict[str, ModelEntry] = {}
        self._life = Lifecycle(
            self._entries,
            self._changed,
            make=make,
            open_room=open_room,
            reload=self.settings.load_on_demand,
            clock=clock,
        )

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(list(self._entries.values()))

    @property
    def draining(self) -> bool:
        """Whether new requests and loads are refused."""
        return self._life.draining

    @draining.setter
    def draining(self, value: bool) -> None:
        self._life.draining = value

    def add(
        self,
        model_id: str,
        client: EngineClient | None = None,
        *,
        source: str = "",
        pinned: bool = False,
        progress: ProgressCallback | None = None,
    ) -> ModelEntry:
        """Make a model known, not loaded yet; see ``_able`` for which is a default.

        ``client``: its engine, if it is not to be made from ``source``. ``progress`` hears of
        its loads, on any thread. Raises ``ValueError``.
        """
        if model_id in self._entries:
            raise ValueError(f"there are two models with the id {model_id!r}")
        if source:
            self._sources.name(source)
        entry = self._new(model_id, source, client)
        entry.pinned, entry.progress = pinned, progress
        return entry

    def engine_changed(self, model_id: str, failure: EngineError | None) -> None:
        """A model's engine became healthy or ceased to be, of itself.

        ``failure``: why it is out of service until further notice.
        """
        entry = self._entries.get(model_id)
        if entry is not None:
            self._life.engine_changed(entry, failure)

    def id_of(self, source: str, model_id: str = "") -> str:
        """The id under which a caller's source is known, or will be. Raises ``InvalidRequest``."""
        if source in self._entries and model_id in ("", source):
            return source
        return checked_id(model_id, source)

    def admit(
        self, source: str, model_id: str = "", *, pinned: bool = False, idle_ttl: float = 0.0
    ) -> ModelEntry:
        """The model that a caller wants loaded: a known one by its id, or a new one.

        Raises ``InvalidRequest``, ``ModelNotFound``, ``PermissionDenied``, ``Unsupported``
        when the id belongs to another source, ``ResourceExhausted`` when too many are known.
        """
        model_id = self.id_of(source, model_id)
        entry = self._entries.get(model_id)
        if model_id != source or entry is None:
            checked = self._sources.checked(source)
            if entry is not None and not self._is_of(entry, checked):
                raise Unsupported(
                    f"model {model_id} is known with another source; choose another id",
                    reason="MODEL_ID_IN_USE",
                )
            if entry is None:
                self._forget_one()
                entry = self._new(model_id, checked, named=False)
        entry.pinned |= pinned
        entry.idle_ttl = idle_ttl or entry.idle_ttl
        return entry

    async def load(self, model_id: str) -> ModelEntry:
        """Load a known model and warm it up. Raises ``LoadError``; the entry keeps it too."""
        entry = self._entries[model_id]
        async with aclosing(self._life.load(entry)) as steps:
            async for _ in steps:
                pass
        return entry

    def loading(self, entry: ModelEntry) -> AsyncGenerator[LoadStep, None]:
        """Load a model, unless it is loaded, and tell how far it is.

        Closing the iterator cancels the load when nobody else waits for it. Raises
        ``EngineError``.
        """
        return self._life.load(entry)

    async def unload(self, model_id: str, grace: float | None = None) -> int:
        """Unload a model for good; returns the bytes given back.

        Its requests finish first, within ``grace`` seconds (None: the settings'). Cancelling
        the caller does not stop it. Raises ``ModelNotFound``.
        """
        entry = self.get(model_id)
        seconds = self.settings.unload_grace_seconds if grace is None else grace
        return await asyncio.shield(self._life.unload(entry, seconds, come_back=False))

    @asynccontextmanager
    async def use(self, entry: ModelEntry) -> AsyncIterator[EngineClient]:
        """A model's engine for one request, loaded first where that is due.

        While it is used the model is not unloaded to make room; what else ends the engine ends
        the request with ``Unavailable``. Raises ``EngineError``.
        """
        while entry.dormant:
            async with aclosing(self._life.load(entry, keep=True)) as steps:
                async for _ in steps:
                    pass
        client = self._serving(entry).client
        self._life.used(entry, 1)
        try:
            yield client
        except Cancelled as error:
            if entry.client is client and entry.unload is None:
                raise
            raise self._life.going(entry) from error
        finally:
            self._life.used(entry, -1)

    async def sweep(self) -> None:
        """Unload the models that were idle for as long as they may be."""
        await self._life.sweep()

    def get(self, model_id: str) -> ModelEntry:
        """A model by id, in any state; "": the default. Raises ``ModelNotFound``."""
        if not model_id:
            return self._default(Capability.GENERATE, Capability.EMBED)
        entry = self._entries.get(model_id)
        if entry is None:
            raise ModelNotFound(f"no model {_short(model_id)}; there are: {self._known()}")
        return entry

    def generator(self, model_id: str) -> ModelEntry:
        """A model that can generate, for ``use``; "": the default. Raises ``EngineError``."""
        return self._resolve(model_id, Capability.GENERATE)

    def embedder(self, model_id: str) -> ModelEntry:
        """A model that can embed, for ``use``; "": the default. Raises ``EngineError``."""
        return self._resolve(model_id, Capability.EMBED)

    def tokenizer(self, model_id: str) -> ModelEntry:
        """A model, whatever it can do, for ``use``; "": the default. Raises ``EngineError``."""
        entry = self.get(model_id)
        return entry if entry.dormant else self._serving(entry)

    def is_default(self, entry: ModelEntry) -> bool:
        """Whether requests that name no model go to this one."""
        return any(
            self._able(capability) is entry
            for capability in (Capability.GENERATE, Capability.EMBED)
        )

    async def drain(self, grace: float) -> None:
        """Refuse new requests, wait at most ``grace`` seconds for the running ones."""
        self.draining = True
        self._changed()
        loaded = [e for e in self if e.state is ModelState.READY]
        await asyncio.gather(*(e.client.drain(grace) for e in loaded))

    async def close(self) -> None:
        """End all engines. What still runs ends with an error."""
        await self._life.close()

    def _new(
        self, model_id: str, source: str, client: EngineClient | None = None, *, named: bool = True
    ) -> ModelEntry:
        if client is None:
            if self._make is None:
                raise Unsupported("this server loads no further models", reason="CANNOT_LOAD")
            client = self._make(model_id, source)
        entry = ModelEntry(model_id, client, source, named=named)
        entry.idle_ttl = self.settings.idle_ttl_seconds
        self._entries[model_id] = entry
        return entry

    def _is_of(self, entry: ModelEntry, source: str) -> bool:
        return bool(entry.source) and self._sources.real(entry.source) == source

    def _forget_one(self) -> None:
        """Forget a model that is not in memory, if too many are known."""
        if len(self._entries) < self.settings.max_known:
            return
        for entry in self:
            gone = entry.state in (ModelState.UNLOADED, ModelState.FAILED)
            if gone and not entry.named and entry.unload is None:
                del self._entries[entry.id]
                return
        raise ResourceExhausted(
            f"the server knows {len(self._entries)} models, its most (models.max_known)",
            reason="TOO_MANY_MODELS",
            retry_after=None,
        )

    def _resolve(self, model_id: str, capability: Capability) -> ModelEntry:
        entry = self.get(model_id) if model_id else self._default(capability)
        if not entry.dormant:
            self._serving(entry)
        if entry.info is not None and not entry.can(capability):
            able = ", ".join(e.id for e in self if e.can(capability)) or "none"
            raise Unsupported(
                f"model {entry.id} cannot {capability.value}; models that can: {able}",
                reason=f"MODEL_CANNOT_{capability.name}",
            )
        return entry

    def _serving(self, entry: ModelEntry) -> ModelEntry:
        if self.draining:
            raise Unavailable("the server is shutting down; ask another one", reason="DRAINING")
        if entry.state is ModelState.FAILED:
            raise LoadError(f"model {entry.id} is out of service: {entry.error}")
        if entry.state is not ModelState.READY:
            state = entry.state.name
            raise Unavailable(
                f"model {entry.id} is {state.lower()}; try again soon", reason=f"MODEL_{state}"
            )
        return entry

    def _able(self, capability: Capability) -> ModelEntry | None:
        """The default of a capability: the first model that has it.

        For embedding a model that does nothing else goes first: it was made for that.
        """
        able = [entry for entry in self if entry.can(capability)]
        if capability is Capability.EMBED:
            able.sort(key=lambda entry: entry.can(Capability.GENERATE))
        return next(iter(able), None)

    def _default(self, *capabilities: Capability) -> ModelEntry:
        """The first model that can do the first capability for which there is one.

        What a model can do is known once it is loaded: until then the first model that is
        still loading stands for it, so that the caller is told to wait.
        """
        for capability in capabilities:
            able = self._able(capability)
            if able is not None:
                return able
        waiting = (ModelState.LOADING, ModelState.UNLOADED, ModelState.FAILED)
        for state in waiting:
            for entry in self:
                if entry.state is state:
                    return entry
        if not self._entries:
            raise ModelNotFound("the server has no models")
        verbs = " or ".join(capability.value for capability in capabilities)
        raise ModelNotFound(f"no model can {verbs}; there are: {self._known()}")

    def _known(self) -> str:
        return ", ".join(self._entries) or "none"

    def _changed(self) -> None:
        for listener in self.listeners:
            listener()


def _short(text: str, limit: int = 100) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")
