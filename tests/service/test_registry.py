"""Which model answers, and what a caller is told while it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mlxforge.engine.errors import (
    EngineError,
    LoadError,
    ModelNotFound,
    Unavailable,
    Unsupported,
)
from mlxforge.service.api import Api, CallContext
from mlxforge.service.registry import ModelState, Registry
from mlxforge.v1 import model_pb2

from .fakes import FakeEngine, Script


async def loaded(*engines: FakeEngine) -> Registry:
    registry = Registry()
    for engine in engines:
        registry.add(engine._model_id, engine)
    for entry in registry:
        await registry.load(entry.id)
    return registry


async def test_defaults_are_the_first_of_each_capability() -> None:
    registry = await loaded(FakeEngine.embedder(model_id="e1"), FakeEngine("g1"), FakeEngine("g2"))
    assert registry.generator("").id == "g1"
    assert registry.embedder("").id == "e1"
    assert registry.tokenizer("").id == "g1"
    assert registry.generator("g2").id == "g2"
    assert [entry.id for entry in registry if registry.is_default(entry)] == ["e1", "g1"]


async def test_wrong_names_and_capabilities() -> None:
    registry = await loaded(FakeEngine("g1"))
    with pytest.raises(ModelNotFound, match="'x'; there are: g1"):
        registry.generator("x")
    with pytest.raises(ModelNotFound) as caught:
        registry.generator("x" * 10_000)
    assert len(caught.value.message) < 200
    with pytest.raises(Unsupported) as unsupported:
        registry.embedder("g1")
    assert unsupported.value.reason == "MODEL_CANNOT_EMBED"
    with pytest.raises(ModelNotFound, match="no model can embed"):
        registry.embedder("")
    with pytest.raises(ModelNotFound, match="no models"):
        Registry().generator("")


async def test_loading_is_unavailable_not_unknown() -> None:
    registry = Registry()
    registry.add("g1", FakeEngine("g1", script=Script(load_seconds=0.05)))
    for name in ("", "g1"):
        with pytest.raises(Unavailable) as caught:
            registry.generator(name)
        assert caught.value.reason == "MODEL_UNLOADED"
    load = asyncio.create_task(registry.load("g1"))
    await asyncio.sleep(0)
    for name in ("", "g1"):
        with pytest.raises(Unavailable) as caught:
            registry.generator(name)
        assert caught.value.reason == "MODEL_LOADING"
    await load
    assert registry.generator("").id == "g1"


@pytest.mark.parametrize("error", [LoadError("bad file"), RuntimeError("boom")])
async def test_a_failed_load_is_kept_and_others_serve(error: Exception) -> None:
    registry = Registry()
    registry.add("bad", FakeEngine("bad", script=Script(load_error=error)))
    registry.add("good", FakeEngine("good"))
    with pytest.raises(type(error)):
        await registry.load("bad")
    await registry.load("good")
    with pytest.raises(LoadError, match=r"bad file|boom"):
        registry.generator("bad")
    assert registry.generator("").id == "good"
    assert registry.get("bad").state is ModelState.FAILED


async def test_a_cancelled_load_leaves_the_model_unloaded() -> None:
    registry = Registry()
    registry.add("g1", FakeEngine("g1", script=Script(load_seconds=30)))
    load = asyncio.create_task(registry.load("g1"))
    await asyncio.sleep(0.01)
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    assert registry.get("g1").state is ModelState.UNLOADED


async def test_draining_and_closing() -> None:
    engine = FakeEngine("g1")
    registry = await loaded(engine)
    changes: list[bool] = []
    registry.listeners.append(lambda: changes.append(registry.draining))
    await registry.drain(0.1)
    with pytest.raises(Unavailable) as caught:
        registry.generator("g1")
    assert caught.value.reason == "DRAINING" and changes == [True]
    await registry.close()
    assert engine.closed and registry.get("g1").state is ModelState.UNLOADED


def test_ids_are_unique() -> None:
    registry = Registry()
    registry.add("a", FakeEngine())
    with pytest.raises(ValueError, match="two models"):
        registry.add("a", FakeEngine())


async def _models(registry: Registry) -> list[model_pb2.Model]:
    method = Api(registry).methods["mlxforge.v1.ModelService/ListModels"]

    async def one() -> AsyncIterator[model_pb2.ListModelsRequest]:
        yield model_pb2.ListModelsRequest()

    [response] = [r async for r in method.handler(one(), CallContext())]
    assert isinstance(response, model_pb2.ListModelsResponse)
    return list(response.models)


async def test_models_are_described_in_every_state() -> None:
    registry = Registry()
    registry.add("bad", FakeEngine("bad", script=Script(load_error=LoadError("no such file"))))
    registry.add("later", FakeEngine("later"))
    registry.add("e1", FakeEngine.embedder(model_id="e1"))
    registry.add("g1", FakeEngine("g1"), pinned=True)
    for name in ("bad", "e1", "g1"):
        try:
            await registry.load(name)
        except EngineError:
            assert name == "bad"
    e1, g1, bad, later = await _models(registry)
    assert (bad.id, bad.state, bad.error) == ("bad", model_pb2.MODEL_STATE_FAILED, "no such file")
    assert (later.id, later.state) == ("later", model_pb2.MODEL_STATE_UNLOADED)
    assert e1.default and g1.default and not bad.default
    assert e1.embedding.dimensions == 4 and e1.embedding.pooling == 1
    assert e1.limits.max_embed_inputs == 2048
    assert list(g1.capabilities) == [
        model_pb2.MODEL_CAPABILITY_GENERATE,
        model_pb2.MODEL_CAPABILITY_CHAT,
    ]
    assert g1.pinned and g1.ready_time.seconds > 0 and g1.weight_bytes == 12345
    assert g1.limits.vocab_size == 1000 and not g1.HasField("embedding")
