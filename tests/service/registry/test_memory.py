"""Unloading gives memory back to the system: measured with real models, in both places."""

from __future__ import annotations

import asyncio

import pytest

from mlxforge.engine.request import EmbeddingRequest
from mlxforge.service.config import Settings
from mlxforge.service.models import open_registry
from mlxforge.service.registry import ModelState, Registry
from mlxforge.service.registry.footprint import resident_bytes

MODEL = "all-minilm-l6-v2"
WEIGHTS = 90_000_000
MIB = 2**20

pytestmark = pytest.mark.slow


async def use_and_unload(registry: Registry) -> tuple[int, int]:
    """Resident bytes while it was loaded, and bytes given back."""
    entry = await registry.load(MODEL)
    async with registry.use(entry) as engine:
        request = EmbeddingRequest(request_id="r", inputs=("hello",) * 32)
        assert (await engine.embed(request)).vectors.shape == (32, 384)
    held = await resident_bytes()
    return held, await registry.unload(MODEL)


async def test_a_worker_gives_everything_back() -> None:
    registry = open_registry(Settings(model=(MODEL,)), workers=True)
    before = await resident_bytes()
    held, freed = await use_and_unload(registry)
    after = await resident_bytes()
    await registry.close()
    assert held - before > WEIGHTS and freed > WEIGHTS
    # The worker is gone; what is left are modules of its own side here.
    assert after - before < 40 * MIB, (before, held, after)


async def test_in_process_each_load_takes_what_the_last_gave_back() -> None:
    registry = open_registry(Settings(model=(MODEL,)))
    await use_and_unload(registry)  # libraries are loaded once and stay
    sizes = []
    for _ in range(4):
        _, freed = await use_and_unload(registry)
        assert freed >= WEIGHTS
        sizes.append(await resident_bytes())
    await registry.close()
    assert sizes[-1] - sizes[0] < WEIGHTS // 2, sizes


async def mlx_bytes() -> int:
    """What MLX holds in this process: other tests' leavings are in its resident size."""
    import mlx.core as mx

    return mx.get_active_memory() + mx.get_cache_memory()


@pytest.mark.parametrize("workers", [True, False])
async def test_a_cancelled_load_leaves_nothing(workers: bool) -> None:
    registry = open_registry(Settings(model=(MODEL,)), workers=workers)
    await use_and_unload(registry)
    held = resident_bytes if workers else mlx_bytes
    before = await held()
    for seconds in (0.0, 0.05, 0.2, 0.4):
        load = asyncio.create_task(registry.load(MODEL))
        await asyncio.sleep(seconds)
        load.cancel()
        await asyncio.wait({load})
        assert registry.get(MODEL).state in (ModelState.UNLOADED, ModelState.READY)
        if registry.get(MODEL).state is ModelState.READY:  # it was faster
            await registry.unload(MODEL)
    assert registry.get(MODEL).granted == 0
    async with asyncio.timeout(10):  # a step of the load that nothing could stop
        while await held() - before > WEIGHTS // 2:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.1)
    await registry.close()
