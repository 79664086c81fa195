"""What an engine says of its state: counts that add up, of any moment of its life."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.engine import Engine
from mlxforge.engine.local import LocalEngine
from mlxforge.engine.request import EmbeddingRequest, GenerationRequest
from mlxforge.engine.stats import EngineStats

CONFIG = EngineConfig(
    max_running_requests=2,
    max_waiting_requests=3,
    max_prefill_tokens=32,
    prefix_block=8,
    memory_budget=64 << 20,
)
PROMPT = tuple(range(1, 41))


async def _generate(engine: Engine | LocalEngine, name: str, max_tokens: int = 8) -> int:
    request = GenerationRequest(
        name, prompt_token_ids=PROMPT, max_tokens=max_tokens, ignore_eos=True
    )
    return sum([len(output.token_ids) async for output in engine.generate(request)])


async def test_counts_add_up(folder: Path) -> None:
    engine = Engine(str(folder), CONFIG)
    assert engine.stats == EngineStats(), "of an engine that is not loaded"
    await engine.start()
    fresh = engine.stats
    assert (fresh.prompt_tokens, fresh.generated_tokens, fresh.steps) == (0, 0, 0), "warm-up"
    assert fresh.kv_total_bytes > 0 and fresh.memory_active_bytes > 0

    assert await _generate(engine, "a") == 8
    first = engine.stats
    assert first.generated_tokens == 8
    # The last token of a prompt is part of the first decode step.
    assert first.prompt_tokens == len(PROMPT) - 1
    assert (first.prefix_queries, first.prefix_hits) == (len(PROMPT), 0)
    assert first.steps >= 8 and 0 < first.step_seconds < 60
    assert 0 < first.kv_prefix_bytes <= first.kv_used_bytes <= first.kv_total_bytes

    await _generate(engine, "b")
    second = engine.stats
    assert second.prefix_hits == 32, "whole blocks of 8 below the last token"
    assert second.prompt_tokens == first.prompt_tokens + len(PROMPT) - 1 - 32
    assert second.generated_tokens == 16

    await engine.close()
    assert engine.stats == EngineStats()


async def test_running_and_waiting(folder: Path) -> None:
    engine = Engine(str(folder), CONFIG)
    await engine.start()
    try:
        calls = [asyncio.create_task(_generate(engine, f"r{i}", 300)) for i in range(3)]
        seen: set[tuple[int, int]] = set()
        async with asyncio.timeout(60):
            while not all(call.done() for call in calls):
                stats = engine.stats
                seen.add((stats.running, stats.waiting))
                await asyncio.sleep(0.001)
        assert any(running == 2 and waiting for running, waiting in seen), seen
        assert all(running <= 2 for running, _ in seen)
        async with asyncio.timeout(5):
            while engine.stats.running:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.01)
        assert engine.stats.waiting == engine.stats.rejected == 0

        calls = [asyncio.create_task(_generate(engine, f"s{i}", 300)) for i in range(12)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [result for result in results if isinstance(result, Exception)]
        assert engine.stats.rejected == len(refused) > 0
    finally:
        await engine.close()


async def test_embeddings_are_counted(folder: Path) -> None:
    engine = LocalEngine(str(folder), CONFIG)
    assert engine.stats == EngineStats()
    await engine.start()
    try:
        before = engine.stats
        output = await engine.embed(EmbeddingRequest("e", inputs=("one", "two three")))
        after = engine.stats
        assert after.prompt_tokens - before.prompt_tokens == output.prompt_tokens
        assert after.steps > before.steps
    finally:
        await engine.close()
