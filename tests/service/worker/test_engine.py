"""A worker answers as the engine it hosts does."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from mlxforge.engine.errors import (
    EngineError,
    InternalError,
    InvalidRequest,
    ResourceExhausted,
)
from mlxforge.engine.output import Capability, RequestOutput
from mlxforge.engine.request import Chat, EmbeddingRequest, Message, SamplingParams
from mlxforge.service.worker.engine import WorkerEngine

from ..fakes import all_errors
from ..serving import until
from .workers import request, scripted, text_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[WorkerEngine]:
    """One worker for all of them: each leaves it as it was."""
    engine = scripted()
    await engine.start()
    yield engine
    await engine.close()


async def test_it_generates(engine: WorkerEngine) -> None:
    assert engine.healthy and engine.info.id == "fake"
    assert Capability.GENERATE in engine.info.capabilities
    outputs = [output async for output in engine.generate(request("a b c", 7, n=2, logprobs=3))]
    assert {output.index for output in outputs} == {0, 1}
    assert len({output.request_id for output in outputs}) == 1
    texts = ["".join(o.text for o in outputs if o.index == index) for index in (0, 1)]
    assert texts == ["a b c a b c a", "b c a b c a b"]
    assert [o.index for o in outputs if o.finish is not None] == [0, 1]
    assert all(len(entry.top) == 3 for output in outputs for entry in output.logprobs)


async def test_many_at_once_each_get_their_own(engine: WorkerEngine) -> None:
    texts = await asyncio.gather(*(text_of(engine, f"w{i}", 5) for i in range(64)))
    assert texts == [" ".join([f"w{i}"] * 5) for i in range(64)]
    await until(lambda: engine.stats.generated_tokens >= 64 * 5)


async def test_it_embeds_and_tokenizes(engine: WorkerEngine) -> None:
    inputs = tuple("x" * i for i in range(1, 2001))
    output = await engine.embed(EmbeddingRequest("e", inputs))
    assert output.vectors.shape == (2000, 4) and output.vectors.dtype == np.float32
    assert (output.vectors[:, 0] == np.arange(1, 2001)).all() and len(output.truncated) == 2000
    output.vectors[0] = 0  # the caller's own
    assert await engine.tokenize("ab c") == ((3, 2, 1), ("<s>", "ab", "c"))
    chat = Chat((Message("user", "hi there"),))
    assert await engine.tokenize(chat, add_special_tokens=False) == ((2, 5), ("hi", "there"))
    assert await engine.detokenize([1, 2]) == "t1 t2"
    with pytest.raises(InvalidRequest) as caught:
        await engine.detokenize([5000])
    assert caught.value.violations[0].field == "token_ids"


async def test_errors_are_the_engines(engine: WorkerEngine) -> None:
    for number, wanted in enumerate(all_errors()):
        with pytest.raises(EngineError) as caught:
            await text_of(engine, f"raise {number}")
        assert caught.value.message == wanted.message and caught.value.reason == wanted.reason


async def test_a_request_is_checked_again_in_the_worker(engine: WorkerEngine) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await text_of(engine, sampling_params=SamplingParams(top_p=3.0))
    assert caught.value.violations[0].field == "sampling_params.top_p"
    with pytest.raises(InvalidRequest):
        await engine.embed(EmbeddingRequest("e", ()))


async def test_what_cannot_travel_fails_alone(engine: WorkerEngine) -> None:
    with pytest.raises(InternalError):
        await text_of(engine, "a lone surrogate: \ud800")
    assert await text_of(engine, "well", 1) == "well"


async def test_leaving_early_aborts(engine: WorkerEngine) -> None:
    outputs = engine.generate(request(max_tokens=4000))
    await anext(outputs)
    assert isinstance(outputs, AsyncGenerator)
    await outputs.aclose()
    task = asyncio.create_task(text_of(engine, "stuck"))
    await until(lambda: engine.stats.running > 0, 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: engine.stats.running == 0, 10)
    assert await text_of(engine, "live") == "0"


async def test_a_caller_that_raises_ends_its_request_alone(engine: WorkerEngine) -> None:
    """Other calls' answers come in the same frames."""

    def put(output: RequestOutput) -> None:
        raise ResourceExhausted("too slow", reason="SLOW_READER", retry_after=None)

    other = asyncio.create_task(text_of(engine, max_tokens=400))
    with pytest.raises(ResourceExhausted, match="too slow"):
        await engine.run(request(max_tokens=4000), put)
    assert len((await other).split()) == 400
    await until(lambda: engine.stats.running == 0, 10)
    assert await text_of(engine, "live") == "0"


async def test_the_model_is_no_matter_of_the_garbage_collector(engine: WorkerEngine) -> None:
    assert int(await text_of(engine, "frozen", 1)) > 10_000


async def test_deadlines_hold(engine: WorkerEngine) -> None:
    with pytest.raises(EngineError) as caught:
        await text_of(engine, max_tokens=4000, deadline=time.monotonic() + 0.1)
    assert caught.value.reason == "DEADLINE_EXCEEDED"


async def test_the_environment_is_inherited(engine: WorkerEngine) -> None:
    assert await text_of(engine, "environment PATH") == os.environ["PATH"]
