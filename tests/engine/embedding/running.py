"""Steps a scheduler on the test's own thread."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mlxforge.engine.embedding.model import EmbeddingModel
from mlxforge.engine.embedding.scheduler import EmbeddingScheduler
from mlxforge.engine.output import EmbeddingOutput
from mlxforge.engine.request import EmbeddingRequest


def finish(scheduler: EmbeddingScheduler, timeout: float = 120) -> int:
    """Step until nothing is left to do; returns the steps that did something."""
    steps = 0
    deadline = time.monotonic() + timeout
    while scheduler.busy:
        if scheduler.step():
            steps += 1
        elif time.monotonic() > deadline:
            raise TimeoutError("the scheduler did not finish")
        else:
            time.sleep(0.001)
    return steps


def run(
    scheduler: EmbeddingScheduler, requests: Sequence[EmbeddingRequest]
) -> list[EmbeddingOutput]:
    """The outputs of some requests that run together."""
    futures = [scheduler.submit(request) for request in requests]
    finish(scheduler)
    return [future.result(timeout=0) for future in futures]


def embed(model: EmbeddingModel, request: EmbeddingRequest) -> EmbeddingOutput:
    """The output of one request, alone."""
    scheduler = EmbeddingScheduler(model)
    try:
        return run(scheduler, [request])[0]
    finally:
        scheduler.close()
