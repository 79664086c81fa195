"""Models come and go: who waits, who is refused, and what is held meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import pytest

from mlxforge.engine.errors import (
    Cancelled,
    InvalidRequest,
    LoadError,
    ModelNotFound,
    ResourceExhausted,
    Unavailable,
    Unsupported,
)
from mlxforge.engine.request import GenerationRequest
from mlxforge.service.registry import ModelEntry, ModelsSettings, ModelState, Registry
from mlxforge.v1 import generation_pb2, model_pb2

from .engines import MIB, Ledger, call, loaded

Load = model_pb2.LoadModelRequest
Stage = model_pb2.LoadModelResponse
LOAD, UNLOAD = "ModelService/LoadModel", "ModelService/UnloadModel"
TWO = 520 * MIB  # the engines here need a little over 256 MiB each


class Clock:
    """Time that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def all_of(responses: Any) -> list[Any]:
    return [response async for response in responses]


async def load(registry: Registry, model: str, **fields: Any) -> list[Any]:
    return await all_of(call(registry, LOAD, Load(model=model, **fields)))


async def unload(registry: Registry, model: str) -> int:
    request = model_pb2.UnloadModelRequest(model=model)
    [response] = await all_of(call(registry, UNLOAD, request))
    return int(response.freed_bytes)


async def generate(registry: Registry, model: str = "", words: int = 3) -> int:
    """How many words came."""
    request = generation_pb2.GenerateRequest(model=model, prompt="a b c", max_tokens=words)
    stream = call(registry, "GenerationService/StreamGenerate", request)
    return len([each async for each in stream if each.HasField("delta")])


def state(registry: Registry, model: str) -> ModelState:
    return registry.get(model).state


async def test_a_load_tells_how_far_it_is_and_ends_with_the_model() -> None:
    registry = Ledger(step_seconds=0.01).registry()
    steps = await load(registry, "/m/one", pinned=True)
    stages = [step.stage for step in steps]
    assert stages == sorted(stages) and set(stages) == {1, 2, 3, 4}
    assert [(s.done, s.total) for s in steps if s.stage == Stage.STAGE_READING] == [(1, 3), (2, 3)]
    model = steps[-1].model
    assert model.id == "one" and model.state == model_pb2.MODEL_STATE_READY and model.pinned
    assert await generate(registry, "one") == 3
    # What is loaded already answers at once, by its source or by its id.
    for again in ("/m/one", "one"):
        [only] = await load(registry, again)
        assert only.stage == Stage.STAGE_READY and only.model.pinned
    await registry.close()


async def test_a_load_is_shared_and_ends_with_the_last_who_waits() -> None:
    ledger = Ledger(step_seconds=0.02, load_steps=50)
    registry = ledger.registry()
    waiting = [asyncio.create_task(load(registry, "/m/one")) for _ in range(3)]
    await asyncio.sleep(0.03)
    waiting[0].cancel()
    waiting[1].cancel()
    await asyncio.wait(waiting[:2])
    assert state(registry, "one") is ModelState.LOADING and ledger.held == ["one"]
    waiting[2].cancel()
    await asyncio.wait(waiting)
    assert state(registry, "one") is ModelState.UNLOADED and ledger.held == []
    ledger.load_steps = 1
    assert (await load(registry, "/m/one"))[-1].stage == Stage.STAGE_READY
    assert ledger.starts == ["one", "one"] and not ledger.wrong
    await registry.close()


async def test_a_new_load_waits_for_the_end_of_a_cancelled_one() -> None:
    ledger = Ledger(step_seconds=0.01, load_steps=3)
    registry = ledger.registry()
    first = asyncio.create_task(load(registry, "/m/one"))
    await asyncio.sleep(0.005)
    first.cancel()
    second = asyncio.create_task(load(registry, "/m/one"))
    assert (await second)[-1].stage == Stage.STAGE_READY
    assert first.cancelled() and not ledger.wrong and ledger.held == ["one"]
    await registry.close()


async def test_a_failed_load_is_kept_and_may_be_tried_again() -> None:
    ledger = Ledger()
    registry = ledger.registry()
    with pytest.raises(LoadError, match="damaged"):
        await load(registry, "/m/broken", id="one")
    assert state(registry, "one") is ModelState.FAILED and ledger.held == []
    assert registry.get("one").error == "its weights are damaged"
    with pytest.raises(LoadError, match="out of service: its weights"):
        await generate(registry, "one")
    with pytest.raises(LoadError):
        await load(registry, "/m/broken", id="one")
    assert ledger.starts == ["one", "one"]
    assert await unload(registry, "one") == 0 and state(registry, "one") is ModelState.UNLOADED
    await registry.close()


async def test_one_id_is_one_source() -> None:
    registry = Ledger().registry("one")
    await load(registry, "/m/one")
    with pytest.raises(Unsupported) as caught:
        await load(registry, "/m/two", id="one")
    assert caught.value.reason == "MODEL_ID_IN_USE"
    await load(registry, "/m/one", id="same-files")
    with pytest.raises(ModelNotFound):
        await load(registry, "no-such-model")
    with pytest.raises(ModelNotFound):
        await unload(registry, "no-such-model")
    for request, field in ((Load(), "model"), (Load(model="/m/x", idle_ttl_seconds=0), "idle_")):
        with pytest.raises(InvalidRequest, match=field):
            await all_of(call(registry, LOAD, request))
    with pytest.raises(InvalidRequest, match="model"):
        await unload(registry, "")
    await registry.close()


async def test_known_models_are_limited() -> None:
    registry = Ledger().registry("named", max_known=3)
    await load(registry, "/m/a")
    await load(registry, "/m/b")
    with pytest.raises(ResourceExhausted) as caught:
        await load(registry, "/m/c")
    assert caught.value.reason == "TOO_MANY_MODELS" and caught.value.retry_after is None
    await unload(registry, "a")
    await load(registry, "/m/c")
    assert [entry.id for entry in registry] == ["named", "b", "c"]
    await registry.close()


async def test_running_requests_end_before_their_model_is_unloaded() -> None:
    ledger = Ledger(word_seconds=0.02)
    registry = ledger.registry("one")
    await loaded(registry, "one")
    running = asyncio.create_task(generate(registry, "one", words=5))
    await asyncio.sleep(0.03)
    unloading = [asyncio.create_task(unload(registry, "one")) for _ in range(2)]
    await asyncio.sleep(0)
    assert state(registry, "one") is ModelState.UNLOADING
    with pytest.raises(Unavailable) as caught:
        await generate(registry, "one")
    assert caught.value.reason == "MODEL_UNLOADING"
    assert await running == 5
    freed = await asyncio.gather(*unloading)
    assert freed[0] == freed[1] >= 12345  # at least its weights
    assert state(registry, "one") is ModelState.UNLOADED and ledger.held == []
    with pytest.raises(Unavailable) as caught:  # a caller unloaded it: it stays so
        await generate(registry, "one")
    assert caught.value.reason == "MODEL_UNLOADED"
    await load(registry, "one")
    assert await generate(registry, "one") == 3
    await registry.close()


async def test_what_runs_beyond_the_grace_time_ends_with_unavailable() -> None:
    registry = Ledger(word_seconds=0.01).registry("one", unload_grace_seconds=0.05)
    await loaded(registry, "one")
    running = asyncio.create_task(generate(registry, "one", words=4000))
    await asyncio.sleep(0.02)
    await unload(registry, "one")
    with pytest.raises(Unavailable) as caught:
        await running
    assert caught.value.reason == "MODEL_UNLOADING"
    await registry.close()


async def test_unloading_ends_a_load() -> None:
    ledger = Ledger(step_seconds=0.02, load_steps=50)
    registry = ledger.registry("one")
    loading = asyncio.create_task(load(registry, "one"))
    await asyncio.sleep(0.03)
    assert await unload(registry, "one") == 0
    with pytest.raises(Unavailable) as caught:
        await loading
    assert caught.value.reason == "MODEL_UNLOADING"
    assert state(registry, "one") is ModelState.UNLOADED and ledger.held == []
    await registry.close()


async def test_a_caller_who_leaves_does_not_stop_an_unloading() -> None:
    registry = Ledger(word_seconds=0.02).registry("one")
    await loaded(registry, "one")
    running = asyncio.create_task(generate(registry, "one", words=4))
    await asyncio.sleep(0.01)
    leaving = asyncio.create_task(unload(registry, "one"))
    await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.wait({leaving})
    assert await running == 4
    assert await unload(registry, "one") >= 0 and state(registry, "one") is ModelState.UNLOADED
    await registry.close()


async def test_the_least_recently_used_makes_room_and_comes_back_on_demand() -> None:
    ledger = Ledger(total=TWO)
    registry = ledger.registry("a", "b", max_loaded=2)
    await loaded(registry, "a", "b")
    await generate(registry, "a")
    await load(registry, "/m/c")
    assert ledger.held == ["a", "c"] and state(registry, "b") is ModelState.UNLOADED
    assert await generate(registry, "b") == 3  # a is the oldest now
    assert ledger.held == ["b", "c"]
    assert registry.generator("").id == "a"  # the default stays who it is
    await asyncio.gather(*(generate(registry) for _ in range(5)))
    assert ledger.held == ["a", "b"] and ledger.starts.count("a") == 2 and not ledger.wrong
    await registry.close()


async def test_without_load_on_demand_a_model_stays_away() -> None:
    ledger = Ledger(total=TWO)
    registry = ledger.registry("a", "b", max_loaded=2, load_on_demand=False)
    await loaded(registry, "a", "b")
    await load(registry, "/m/c")
    with pytest.raises(Unavailable) as caught:
        await generate(registry, "a")
    assert caught.value.reason == "MODEL_UNLOADED"
    await registry.close()


async def test_pinned_and_busy_models_stay() -> None:
    ledger = Ledger(total=TWO, word_seconds=0.02)
    registry = ledger.registry("a", "b", max_loaded=2)
    await loaded(registry, "a", "b")
    await load(registry, "a", pinned=True)
    running = asyncio.create_task(generate(registry, "b", words=4))
    await asyncio.sleep(0.01)
    with pytest.raises(ResourceExhausted, match=r"a 260 MiB \(pinned\), b 260 MiB \(1 requests\)"):
        await load(registry, "/m/c")
    assert state(registry, "c") is ModelState.UNLOADED and registry.get("c").error == ""
    assert await running == 4
    await load(registry, "/m/c")
    assert ledger.held == ["a", "c"] and not ledger.wrong
    await registry.close()


async def test_most_models_at_once() -> None:
    ledger = Ledger(total=100 * TWO)
    registry = ledger.registry("a", max_loaded=2)
    await loaded(registry, "a")
    await load(registry, "/m/b")
    await load(registry, "/m/c")
    assert ledger.held == ["b", "c"]
    await registry.close()


async def test_idle_models_are_unloaded_after_their_time() -> None:
    clock = Clock()
    ledger = Ledger(word_seconds=0.01)
    registry = ledger.registry("a", "b", clock=clock, idle_ttl_seconds=100.0)
    await loaded(registry, "a", "b")
    await load(registry, "b", idle_ttl_seconds=10)
    clock.now = 9.0
    await registry.sweep()
    assert ledger.held == ["a", "b"]
    running = asyncio.create_task(generate(registry, "b", words=3))
    await asyncio.sleep(0.005)
    clock.now = 50.0
    await registry.sweep()  # it runs
    assert ledger.held == ["a", "b"]
    await running
    clock.now = 59.9
    await registry.sweep()
    assert ledger.held == ["a", "b"]
    clock.now = 60.0
    await registry.sweep()
    assert ledger.held == ["a"]
    await generate(registry, "b")
    assert ledger.held == ["a", "b"]
    clock.now = 1000.0
    await registry.sweep()
    assert ledger.held == [] and state(registry, "a") is ModelState.UNLOADED
    assert await generate(registry) == 3
    await registry.close()


async def test_idle_models_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlxforge.service.registry.lifecycle.SWEEP_SECONDS", 0.01)
    ledger = Ledger()
    registry = ledger.registry("a", idle_ttl_seconds=0.05)
    await loaded(registry, "a")
    async with asyncio.timeout(5):
        while ledger.held:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)
    await registry.close()


async def test_a_request_that_gives_up_waiting_leaves_the_load_to_the_next() -> None:
    clock = Clock()
    ledger = Ledger(load_steps=5)
    registry = ledger.registry("a", clock=clock, idle_ttl_seconds=1.0)
    await loaded(registry, "a")
    clock.now = 2.0
    await registry.sweep()
    ledger.step_seconds = 0.02
    impatient = asyncio.create_task(generate(registry))
    await asyncio.sleep(0.01)
    impatient.cancel()
    await asyncio.wait({impatient})
    assert await generate(registry) == 3
    assert ledger.starts == ["a", "a"]
    await registry.close()


async def test_a_server_that_drains_loads_nothing() -> None:
    registry = Ledger().registry("a")
    registry.draining = True
    with pytest.raises(Unavailable) as caught:
        await load(registry, "a")
    assert caught.value.reason == "DRAINING"
    await registry.close()


async def test_closing_ends_loads_and_requests() -> None:
    ledger = Ledger(step_seconds=0.02, load_steps=50, word_seconds=0.01)
    registry = ledger.registry("a", "b")
    loading = asyncio.create_task(load(registry, "a"))
    await asyncio.sleep(0.03)
    await registry.close()
    with pytest.raises(Cancelled):
        await loading
    assert ledger.held == [] and state(registry, "a") is ModelState.UNLOADED


async def test_a_registry_without_a_factory_loads_no_more() -> None:
    with pytest.raises(Unsupported) as caught:
        Registry(settings=ModelsSettings(allow=("/m/a",))).admit("/m/a")
    assert caught.value.reason == "CANNOT_LOAD"


async def test_a_request_for_a_model_in_use_is_counted_until_it_ends() -> None:
    registry = Ledger().registry("a")
    [entry] = await loaded(registry, "a")
    request = GenerationRequest(request_id="r", prompt="a b", max_tokens=4)
    async with registry.use(entry) as engine:
        outputs = engine.generate(request)
        assert isinstance(outputs, AsyncGenerator)
        async with aclosing(outputs):
            assert entry.running == 1 and (await anext(outputs)).text
    assert entry.running == 0 and entry.idle.is_set()
    with suppress(RuntimeError):
        async with registry.use(entry):
            raise RuntimeError
    assert entry.running == 0
    assert isinstance(entry, ModelEntry)
    await registry.close()


async def test_models_that_do_not_fit_at_start_are_loaded_on_demand() -> None:
    ledger = Ledger(total=TWO)
    registry = ledger.registry("a", "b", "c")
    await loaded(registry, "a", "b", "c")
    assert ledger.held == ["a", "b"] and registry.get("c").dormant
    assert await generate(registry, "c") == 3
    assert ledger.held == ["b", "c"]
    await registry.close()


async def test_what_a_caller_names_never_displaces_what_the_settings_name() -> None:
    ledger = Ledger(total=4 * 260 * MIB)
    registry = ledger.registry("a")
    await loaded(registry, "a")
    await load(registry, "/m/b")
    with pytest.raises(ResourceExhausted, match=r"a \d+ MiB \(named at start\)"):
        for name in ("c", "d", "e"):
            await load(registry, f"/m/{name}", pinned=True)
    assert "a" in ledger.held and not ledger.wrong
    await registry.close()
