"""A real engine answers through a worker what it answers in this process.

``tests/conformance`` asks both ways, too, with SmolLM2: its gRPC columns go through workers,
the embedded ones do not.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.errors import EngineError
from mlxforge.engine.local import LocalEngine
from mlxforge.engine.output import RequestOutput
from mlxforge.engine.request import (
    Chat,
    Constraint,
    ConstraintKind,
    EmbeddingRequest,
    GenerationRequest,
    Message,
    SamplingParams,
)
from mlxforge.service.merging import merged
from mlxforge.service.worker.engine import WorkerEngine

from ...engine.loader.folders import write_folder

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

CONFIG = EngineConfig(max_running_requests=8, prefix_block=8)
GREEDY = SamplingParams(temperature=0.0)
REQUESTS: dict[str, dict[str, Any]] = {
    "greedy": {"prompt": "Once upon a time", "sampling_params": GREEDY, "ignore_eos": True},
    "sampled": {"prompt": "Zoë", "sampling_params": SamplingParams(1.2, 0.9, 40, seed=7), "n": 3},
    "ids": {"prompt_token_ids": (1, 2, 3), "sampling_params": GREEDY, "logprobs": 5},
    "biased": {
        "prompt": "a",
        "sampling_params": SamplingParams(0.0, logit_bias={65: 100.0}),
        "stop": ("AAAA",),
    },
    "schema": {
        "prompt": "json:",
        "sampling_params": SamplingParams(1.0, seed=3),
        "constraint": Constraint(
            ConstraintKind.JSON_SCHEMA, '{"type": "object", "properties": {"a": {"enum": [1, 2]}}}'
        ),
    },
    "choice": {
        "prompt": "?",
        "sampling_params": SamplingParams(1.0, seed=4),
        "constraint": Constraint(ConstraintKind.CHOICE, choices=("yes", "no")),
    },
    "no template": {"chat": Chat((Message("user", "hi"),))},
    "too long": {"prompt": "x" * 5000},
    "bad grammar": {"prompt": "a", "constraint": Constraint(ConstraintKind.REGEX, "(")},
}

Engines = tuple[LocalEngine, WorkerEngine]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engines]:
    """The same model in this process and in a worker."""
    folder: Path = tmp_path_factory.mktemp("model") / "tiny"
    write_folder(folder, max_position_embeddings=512)
    local = LocalEngine(str(folder), CONFIG)
    worker = WorkerEngine(str(folder), CONFIG)
    for engine in (local, worker):
        await engine.start()
    yield local, worker
    await asyncio.gather(local.close(), worker.close())


async def outcome(engine: Any, name: str) -> Any:
    """All that comes of a request, but its times; or its error."""
    request = GenerationRequest(f"r-{name}", **{"max_tokens": 24, **REQUESTS[name]})
    try:
        pieces = [output async for output in engine.generate(request)]
    except EngineError as error:
        return type(error), error.message, error.reason, getattr(error, "violations", ())
    return sorted((_timeless(output) for output in merged(pieces)), key=lambda o: o.index)


def _timeless(output: RequestOutput) -> RequestOutput:
    assert output.finish is not None
    timings = dataclasses.replace(output.finish.timings, queue=0, time_to_first_token=0, total=0)
    return dataclasses.replace(output, finish=dataclasses.replace(output.finish, timings=timings))


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_ends_alike(name: str, engines: Engines) -> None:
    local, worker = engines
    assert await outcome(worker, name) == await outcome(local, name)


async def test_many_at_once_end_alike(engines: Engines) -> None:
    """Who shares a step with whom is chance here, and with it the last bits of a logprob."""
    found = [await asyncio.gather(*(outcome(e, name) for name in REQUESTS)) for e in engines]
    for local, worker in zip(*found, strict=True):
        if isinstance(local, list):
            assert _without_logprobs(local) == _without_logprobs(worker)
            np.testing.assert_allclose(_logprobs(local), _logprobs(worker), atol=1e-4)
        else:
            assert local == worker


def _without_logprobs(outputs: list[RequestOutput]) -> list[RequestOutput]:
    return [dataclasses.replace(output, logprobs=()) for output in outputs]


def _logprobs(outputs: list[RequestOutput]) -> list[float]:
    places = [place for output in outputs for place in output.logprobs or ()]
    return [value for place in places for value in (place.logprob, *(p for _, p in place.top))]


async def test_the_rest_is_alike(engines: Engines) -> None:
    local, worker = engines
    assert worker.info == local.info
    request = EmbeddingRequest("e", ("a text", "another", (1, 2, 3)))
    vectors = [(await engine.embed(request)).vectors for engine in engines]
    assert vectors[0].shape == vectors[1].shape and np.abs(vectors[0] - vectors[1]).max() < 1e-5
    for text in ("", "Zoë paid 5 € 🌍", "<s> <|im_end|>"):
        ids, texts = await worker.tokenize(text)
        assert (list(ids), list(texts)) == tuple(map(list, await local.tokenize(text)))
        assert await worker.detokenize(ids) == await local.detokenize(ids)
