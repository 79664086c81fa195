"""Engines that come and go, and who made them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from mlxforge.engine.errors import LoadError
from mlxforge.engine.loader import Progress
from mlxforge.engine.loader.progress import ProgressCallback
from mlxforge.engine.output import Capability
from mlxforge.service.api import Api, CallContext
from mlxforge.service.registry import ModelEntry, ModelsSettings, Registry
from mlxforge.service.registry.room import Room
from mlxforge.service.registry.sources import Sources

from ..fakes import FakeEngine, Script

MIB = 2**20
GENERATES = frozenset({Capability.GENERATE})


class Engine(FakeEngine):
    """Holds its budget from the beginning of its start to the end of its close."""

    def __init__(
        self, ledger: Ledger, model_id: str, source: str, progress: Any, budget: int
    ) -> None:
        super().__init__(model_id, GENERATES, Script(word_seconds=ledger.word_seconds))
        self.ledger = ledger
        self.source = source
        self.progress = progress
        self.budget = budget

    async def start(self, progress: Callable[[Progress], None] | None = None) -> None:
        self.ledger.begin(self)
        for done in range(1, self.ledger.load_steps + 1):
            await asyncio.sleep(self.ledger.step_seconds)
            self.progress(Progress("weights", done, self.ledger.load_steps))
        await asyncio.sleep(self.ledger.step_seconds)
        if "broken" in self.source:
            raise LoadError("its weights are damaged")
        self.loaded = True

    async def close(self) -> None:
        self.closed = True
        self.script.released.set()
        await asyncio.sleep(0)
        self.ledger.end(self)


@dataclass
class Ledger:
    """Makes engines and keeps account of those that hold memory."""

    total: int = 0
    """Bytes that they may hold together; 0: no limit."""
    load_steps: int = 3
    step_seconds: float = 0.0
    word_seconds: float = 0.0
    holders: list[Engine] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def make(
        self,
        model_id: str,
        source: str,
        *,
        progress: ProgressCallback | None = None,
        memory_budget: float | None = None,
    ) -> Engine:
        return Engine(self, model_id, source, progress, int(memory_budget or 0))

    def begin(self, engine: Engine) -> None:
        self.starts.append(engine._model_id)
        if any(other._model_id == engine._model_id for other in self.holders):
            self.wrong.append(f"{engine._model_id} is started twice")
        self.holders.append(engine)
        if self.total and sum(holder.budget for holder in self.holders) > self.total:
            self.wrong.append("more is held than there is")

    def end(self, engine: Engine) -> None:
        if engine in self.holders:
            self.holders.remove(engine)

    @property
    def held(self) -> list[str]:
        return sorted(engine._model_id for engine in self.holders)

    def registry(self, *names: str, clock: Any = None, **settings: Any) -> Registry:
        """A registry of models ``/m/NAME`` that need 256 MiB each."""
        room = Room(self.total, self.total, settings.get("max_loaded", 0), lambda _: 0)

        async def open_room() -> Room:
            return room

        settings.setdefault("allow", ("/m/*",))
        made = ModelsSettings(**settings)
        registry = Registry(
            self.make,
            made,
            sources=Sources(made.allow, ("tiny",)),
            open_room=open_room if self.total else None,
            **({"clock": clock} if clock else {}),
        )
        for name in names:
            registry.add(name, source=f"/m/{name}")
        return registry


async def loaded(registry: Registry, *names: str) -> list[ModelEntry]:
    """Load models one after the other."""
    return [await registry.load(name) for name in names]


def call(registry: Registry, method: str, request: Any) -> AsyncGenerator[Any]:
    """Call an RPC, as ``ModelService/LoadModel``, without a transport."""

    async def requests() -> AsyncIterator[Any]:
        yield request

    rpc = Api(registry).methods[f"mlxforge.v1.{method}"]
    responses = rpc.handler(requests(), CallContext())
    assert isinstance(responses, AsyncGenerator)
    return responses
