"""Fault 11: loads, unloads and requests race; only documented codes, and all ends well."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import aclosing
from typing import Any

import pytest
from google.rpc import code_pb2

from mlxforge.engine.errors import EngineError
from mlxforge.service.errors import code_of
from mlxforge.service.registry import ModelState, Registry
from mlxforge.v1 import generation_pb2, model_pb2

from .engines import MIB, Ledger, call

TASKS = 32
SOAK = bool(os.environ.get("MLXFORGE_SOAK"))
OPERATIONS = 1024 if SOAK else 64
"""Of each task."""
SEEDS = range(3)
MODELS = ("a", "b", "c", "d", "e", "broken")
DOCUMENTED = {
    "LoadModel": "OK CANCELLED FAILED_PRECONDITION RESOURCE_EXHAUSTED UNAVAILABLE",
    "UnloadModel": "OK CANCELLED NOT_FOUND",
    "StreamGenerate": "OK CANCELLED FAILED_PRECONDITION NOT_FOUND RESOURCE_EXHAUSTED UNAVAILABLE",
}


class Race:
    """Tasks that do whatever a seed says to one registry."""

    def __init__(self, registry: Registry, seed: int) -> None:
        self.registry = registry
        self.random = random.Random(seed)
        self.ends: Counter[tuple[str, str]] = Counter()

    async def run(self) -> None:
        await asyncio.gather(*(self._work() for _ in range(TASKS)))

    async def _work(self) -> None:
        for _ in range(OPERATIONS):
            method, request = self._choose()
            leave_after = self.random.choice((None, None, None, 0, 1, 3))
            code = await self._call(method, request, leave_after)
            self.ends[method.partition("/")[2], code] += 1
            for _ in range(self.random.randrange(4)):
                await asyncio.sleep(0)

    def _choose(self) -> tuple[str, Any]:
        model, dice = self.random.choice(MODELS), self.random.random()
        if dice < 0.25:
            pinned = self.random.random() < 0.02
            source = "/m/other" if dice < 0.02 else f"/m/{model}"
            load = model_pb2.LoadModelRequest(model=source, id=model, pinned=pinned)
            return "ModelService/LoadModel", load
        if dice < 0.4:
            return "ModelService/UnloadModel", model_pb2.UnloadModelRequest(model=model)
        words = self.random.randrange(1, 8)
        request = generation_pb2.GenerateRequest(
            model=self.random.choice((model, model, "")), prompt="a b", max_tokens=words
        )
        return "GenerationService/StreamGenerate", request

    async def _call(self, method: str, request: Any, leave_after: int | None) -> str:
        """The one code that a call ends with; CANCELLED when the caller leaves."""
        responses = 0
        try:
            async with aclosing(call(self.registry, method, request)) as stream:
                if leave_after == 0:
                    task = asyncio.ensure_future(anext(stream))
                    await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait({task})
                    return "CANCELLED"
                async for _ in stream:
                    responses += 1
                    if responses == leave_after:
                        return "CANCELLED"
        except EngineError as error:
            return str(code_pb2.Code.Name(code_of(error)))
        return "OK"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.timeout(1800)
async def test_loads_unloads_and_requests_race(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def measured() -> int:
        return 0

    monkeypatch.setattr("mlxforge.service.registry.lifecycle.resident_bytes", measured)
    ledger = Ledger(total=3 * 260 * MIB)
    registry = ledger.registry("a", "b", unload_grace_seconds=0.001)
    race = Race(registry, seed)
    async with asyncio.timeout(60 + OPERATIONS // 2):
        await race.run()
        # What nobody waits for any more ends by itself.
        for entry in registry:
            if entry.unload is not None:
                await asyncio.wait({entry.unload})
            if entry.load is not None:
                await asyncio.wait({entry.load.task})
    assert race.ends.total() == TASKS * OPERATIONS
    for (method, code), count in race.ends.items():
        assert code in DOCUMENTED[method].split(), f"{count} {method} ended with {code}"
    assert race.ends["LoadModel", "OK"] and race.ends["UnloadModel", "OK"]
    assert race.ends["StreamGenerate", "OK"] and race.ends["StreamGenerate", "UNAVAILABLE"]
    assert ledger.wrong == []
    check(registry, ledger)
    await registry.close()
    assert ledger.held == []


def check(registry: Registry, ledger: Ledger) -> None:
    """Nothing is under way; who is ready holds its memory, and nobody else does."""
    ready = [entry for entry in registry if entry.state is ModelState.READY]
    assert sorted(entry.id for entry in ready) == ledger.held
    for entry in registry:
        assert entry.load is None and entry.unload is None and entry.running == 0
        assert entry.state in (ModelState.READY, ModelState.UNLOADED, ModelState.FAILED)
        assert bool(entry.granted) == (entry.state is ModelState.READY)
        assert (entry.state is ModelState.FAILED) == bool(entry.error)
        assert entry.client in ledger.holders or entry.state is not ModelState.READY
