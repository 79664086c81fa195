"""The models the service knows, by id, and the engine behind each."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mlxforge.engine.client import EngineClient
from mlxforge.engine.errors import EngineError, LoadError, ModelNotFound, Unavailable, Unsupported
from mlxforge.engine.output import Capability


class ModelState(enum.StrEnum):
    """Where a model is in its life."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    FAILED = "failed"


@dataclass(slots=True)
class ModelEntry:
    """One model: the engine that holds it and what became of it."""

    id: str
    client: EngineClient
    state: ModelState = ModelState.UNLOADED
    error: str = ""
    pinned: bool = False
    ready_time: float | None = None
    """``time.time()`` of its becoming ready."""

    @property
    def serving(self) -> bool:
        """Whether it answers requests now."""
        return self.state is ModelState.READY and self.client.healthy

    def can(self, capability: Capability) -> bool:
        """Whether a loaded model can do something."""
        return self.state is ModelState.READY and capability in self.client.info.capabilities


@dataclass(slots=True)
class Registry:
    """Model id to engine. Used on one asyncio loop; changes of state call ``listeners``."""

    listeners: list[Callable[[], None]] = field(default_factory=list)
    draining: bool = False
    _entries: dict[str, ModelEntry] = field(default_factory=dict)

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(self._entries.values())

    def add(self, model_id: str, client: EngineClient, *, pinned: bool = False) -> ModelEntry:
        """Make a model known, not loaded yet; see ``_able`` for which is a default."""
        if model_id in self._entries:
            raise ValueError(f"there are two models with the id {model_id!r}")
        entry = ModelEntry(model_id, client, pinned=pinned)
        self._entries[model_id] = entry
        return entry

    async def load(self, model_id: str) -> ModelEntry:
        """Load a known model and warm it up. Raises ``LoadError``; the entry keeps it too."""
        entry = self._entries[model_id]
        self._set_state(entry, ModelState.LOADING)
        try:
            await entry.client.start()
        except asyncio.CancelledError:
            self._set_state(entry, ModelState.UNLOADED)
            raise
        except Exception as error:
            entry.error = error.message if isinstance(error, EngineError) else repr(error)
            self._set_state(entry, ModelState.FAILED)
            raise
        entry.error = ""
        entry.ready_time = time.time()
        self._set_state(entry, ModelState.READY)
        return entry

    def get(self, model_id: str) -> ModelEntry:
        """A model by id, in any state; "": the default. Raises ``ModelNotFound``."""
        if not model_id:
            return self._default(Capability.GENERATE, Capability.EMBED)
        entry = self._entries.get(model_id)
        if entry is None:
            raise ModelNotFound(f"no model {_short(model_id)}; there are: {self._known()}")
        return entry

    def generator(self, model_id: str) -> ModelEntry:
        """A model that serves and can generate; "": the default. Raises ``EngineError``."""
        return self._resolve(model_id, Capability.GENERATE)

    def embedder(self, model_id: str) -> ModelEntry:
        """A model that serves and can embed; "": the default. Raises ``EngineError``."""
        return self._resolve(model_id, Capability.EMBED)

    def tokenizer(self, model_id: str) -> ModelEntry:
        """A model that serves, whatever it can do; "": the default. Raises ``EngineError``."""
        return self._serving(self.get(model_id))

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
        self.draining = True
        await asyncio.gather(*(e.client.close() for e in self))
        for entry in self:
            entry.state = ModelState.UNLOADED
        self._changed()

    def _resolve(self, model_id: str, capability: Capability) -> ModelEntry:
        entry = self.get(model_id) if model_id else self._default(capability)
        self._serving(entry)
        if not entry.can(capability):
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

    def _set_state(self, entry: ModelEntry, state: ModelState) -> None:
        entry.state = state
        self._changed()

    def _changed(self) -> None:
        for listener in self.listeners:
            listener()


def _short(text: str, limit: int = 100) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")
