"""Requests to an engine, their answers, and what is left of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.engine import Engine
from mlxforge.engine.output import Finish
from mlxforge.engine.request import GenerationRequest, SamplingParams

CONFIG = EngineConfig(
    max_running_requests=8,
    max_waiting_requests=1000,
    max_prefill_tokens=32,
    prefix_block=8,
    memory_budget=64 << 20,
    max_n=4,
)


def request(name: str, **fields: Any) -> GenerationRequest:
    fields = {"prompt": "Once upon a time", "max_tokens": 20, "ignore_eos": True, **fields}
    fields["sampling_params"] = SamplingParams(**{"temperature": 0.0, **fields.pop("params", {})})
    return GenerationRequest(name, **fields)


async def collect(engine: Engine, asked: GenerationRequest) -> dict[int, tuple[list[int], Finish]]:
    """Tokens and finish of each choice."""
    tokens: dict[int, list[int]] = {index: [] for index in range(asked.n)}
    finishes: dict[int, Finish] = {}
    async for output in engine.generate(asked):
        assert output.index not in finishes
        tokens[output.index] += output.token_ids
        if output.finish is not None:
            finishes[output.index] = output.finish
    assert len(finishes) == asked.n
    return {index: (tokens[index], finishes[index]) for index in tokens}


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not come to pass"
        await asyncio.sleep(0.005)


def resting(engine: Engine) -> bool:
    """Whether nothing is held but prefixes."""
    assert engine._assembly is not None
    core, memory = engine._assembly.core, engine._assembly.core.memory
    assert memory.prefix is not None
    return (
        not (core.batch or core.groups or core._flights or core._commands)
        and not (core.scheduler.waiting or core.scheduler.jobs or engine._live)
        and core.runner.rows == core.runner.nbytes == 0
        and memory.used == memory.prefix.nbytes
    )
