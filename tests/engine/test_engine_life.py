"""The engine's life: start, load, drain, close, at every wrong moment."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from mlxforge.engine import assembly
from mlxforge.engine.device import DeviceThread
from mlxforge.engine.engine import Engine
from mlxforge.engine.errors import Cancelled, LoadError, Unavailable, Unsupported
from mlxforge.engine.loader import load_model

from .loader.folders import write_folder
from .serving import CONFIG, collect, request, until


def is_healthy(engine: Engine) -> bool:
    """A call: of an attribute, mypy would believe to the end what was asserted first."""
    return engine.healthy


async def test_before_start_and_after_close(folder: Path) -> None:
    engine = Engine(str(folder), CONFIG)
    assert not is_healthy(engine)
    with pytest.raises(Unavailable) as caught:
        await collect(engine, request("a"))
    assert caught.value.reason == "MODEL_LOADING"
    await engine.start()
    assert is_healthy(engine)
    await engine.close()
    await engine.close()
    assert not is_healthy(engine)
    with pytest.raises(Unavailable) as caught:
        await collect(engine, request("a"))
    assert caught.value.reason == "MODEL_CLOSED"
    with pytest.raises(Unavailable):
        await engine.tokenize("a")
    never = Engine(str(folder), CONFIG)
    await never.close()


async def test_closing_frees_the_model(folder: Path) -> None:
    import mlx.core as mx

    gc.collect()
    resting = mx.get_active_memory()
    engine = Engine(str(folder), CONFIG)
    await engine.start()
    await collect(engine, request("a"))
    assert mx.get_active_memory() > resting + 200_000
    gc.disable()
    await engine.close()
    gc.enable()
    assert mx.get_active_memory() < resting + 10_000


async def test_closing_ends_every_stream(folder: Path) -> None:
    engine = Engine(str(folder), CONFIG)
    await engine.start()
    tasks = [
        asyncio.ensure_future(collect(engine, request(str(i), max_tokens=300))) for i in range(20)
    ]
    slow = engine.generate(request("slow", max_tokens=300))
    await anext(slow)
    await engine.close()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, Cancelled)
    assert isinstance(slow, AsyncGenerator)
    await slow.aclose()


async def test_closed_while_a_request_is_prepared(folder: Path) -> None:
    engine = Engine(str(folder), CONFIG)
    await engine.start()
    assert engine._assembly is not None
    preparer, gate = engine._assembly.preparer, threading.Event()
    fill = preparer.fill
    preparer.fill = lambda group: (gate.wait(5), fill(group))[1]  # type: ignore[method-assign]  # instead of the method
    left = asyncio.ensure_future(collect(engine, request("left")))
    kept = asyncio.ensure_future(collect(engine, request("kept")))
    await asyncio.sleep(0.05)
    left.cancel()
    closing = asyncio.ensure_future(engine.close())
    await asyncio.sleep(0.05)
    gate.set()
    with pytest.raises(Cancelled):
        await kept
    with pytest.raises(asyncio.CancelledError):
        await left
    await closing


@pytest.fixture
def slow_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the weights takes a fifth of a second."""

    def load(*args: Any, **options: Any) -> Any:
        time.sleep(0.2)
        return load_model(*args, **options)

    monkeypatch.setattr(assembly, "load_model", load)


@pytest.mark.usefixtures("slow_load")
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.1])
async def test_closed_while_loading(folder: Path, delay: float) -> None:
    engine = Engine(str(folder), CONFIG)
    starting = asyncio.ensure_future(engine.start())
    await asyncio.sleep(delay)
    await engine.close()
    with pytest.raises(Cancelled):
        await starting
    assert not engine.healthy


@pytest.mark.usefixtures("slow_load")
async def test_a_cancelled_start_leaves_nothing_behind(folder: Path) -> None:
    device = DeviceThread.shared()
    before = len(device._steppers)
    for delay in (0.0, 0.02, 0.1):
        starting = asyncio.ensure_future(Engine(str(folder), CONFIG).start())
        await asyncio.sleep(delay)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    for _ in range(3):  # the build under way, what lets it go, and this
        await asyncio.wrap_future(device.call(lambda: None))
    assert len(device._steppers) == before


async def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    write_folder(tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"\x08")
    engine = Engine(str(tmp_path / "broken"), CONFIG)
    with pytest.raises(LoadError):
        await engine.start()
    await engine.close()


async def test_a_model_that_needs_a_missing_package(tmp_path: Path) -> None:
    """mlx-lm's module ends the process when that package is missing: a load must not."""
    write_folder(tmp_path / "olmo", model_type="olmo")
    engine = Engine(str(tmp_path / "olmo"), CONFIG)
    with pytest.raises((LoadError, Unsupported)):
        await engine.start()
    assert DeviceThread.shared().alive


async def test_drain_waits_for_the_running_ones(engine: Engine) -> None:
    running = asyncio.ensure_future(collect(engine, request("a", max_tokens=100)))
    assert engine._assembly is not None
    core = engine._assembly.core
    await until(lambda: bool(core.batch))
    draining = asyncio.ensure_future(engine.drain(10))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await collect(engine, request("b"))
    assert caught.value.reason == "DRAINING"
    await draining
    assert len((await running)[0][0]) == 100


async def test_drain_gives_up_after_its_grace(engine: Engine) -> None:
    running = asyncio.ensure_future(collect(engine, request("a", max_tokens=480)))
    await asyncio.sleep(0.02)
    await engine.drain(0.01)
    await engine.close()
    with pytest.raises(Cancelled):
        await running
