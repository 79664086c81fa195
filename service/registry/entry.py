"""One model of the registry."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mlxforge.engine.client import EngineClient
from mlxforge.engine.output import Capability, ModelInfo

if TYPE_CHECKING:
    from mlxforge.engine.loader import ProgressCallback

    from .load import Load


class ModelState(enum.StrEnum):
    """Where a model is in its life."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    FAILED = "failed"


class EngineFactory(Protocol):
    """Makes the engine of a model, not started yet, wherever it will run."""

    def __call__(
        self,
        model_id: str,
        source: str,
        *,
        progress: ProgressCallback | None = None,
        memory_budget: float | None = None,
    ) -> EngineClient:
        """``progress`` may be called on any thread, and raises to end the load.

        ``memory_budget`` is what the engine may hold, in bytes, weights included; None: what
        its settings say.
        """
        ...


@dataclass(slots=True, eq=False)
class ModelEntry:
    """One model: the engine that holds it, or will, and what became of it."""

    id: str
    client: EngineClient
    """Made anew for each load, where there is an engine factory."""
    source: str = ""
    state: ModelState = ModelState.UNLOADED
    error: str = ""
    info: ModelInfo | None = None
    """As of its last load; kept when it is unloaded."""
    pinned: bool = False
    named: bool = True
    """Named in the settings, not by a caller of LoadModel: never forgotten."""
    on_demand: bool = False
    """Requests load it when it is not in memory."""
    idle_ttl: float = 0.0
    """Seconds without a request after which it is unloaded; 0: never."""
    ready_time: float | None = None
    """``time.time()`` of its becoming ready."""
    granted: int = 0
    """Bytes it may hold, out of the budget of all models; 0 while it holds none."""
    running: int = 0
    """Requests that use it."""
    last_used: float = 0.0
    """When a request last began or ended, by the registry's clock."""
    progress: ProgressCallback | None = None
    """Hears of every load, beside those who wait for it."""
    load: Load | None = None
    """The load under way."""
    unload: asyncio.Task[int] | None = None
    """The unloading under way."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last running request ends."""

    @property
    def serving(self) -> bool:
        """Whether it answers requests now."""
        return self.state is ModelState.READY and self.client.healthy

    @property
    def dormant(self) -> bool:
        """Not in memory, but the next request loads it."""
        return self.on_demand and self.state not in (ModelState.READY, ModelState.FAILED)

    @property
    def starting(self) -> bool:
        """Loaded for the first time, and not because a caller asked for it."""
        first = self.named and not self.on_demand and self.ready_time is None
        return first and self.state is ModelState.LOADING

    @property
    def idling(self) -> bool:
        """Ready, and no request uses it."""
        return self.state is ModelState.READY and not self.running

    def can(self, capability: Capability) -> bool:
        """Whether requests that need a capability may be sent to it."""
        if self.info is None or not (self.state is ModelState.READY or self.dormant):
            return False
        return capability in self.info.capabilities
