"""Steps a scheduler on the test's own thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import tokenizers

from mlxforge.engine.embedding.model import EmbeddingModel, build_encoder
from mlxforge.engine.embedding.scheduler import EmbeddingScheduler
from mlxforge.engine.embedding.settings import EmbeddingSettings
from mlxforge.engine.output import EmbeddingOutput
from mlxforge.engine.request import EmbeddingRequest, Pooling

from .tiny_encoders import CONFIGS, tiny_weights


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


def tiny_model(name: str = "bert", **settings: Any) -> EmbeddingModel:
    """A tiny encoder with words w0 to w89 and [CLS], [SEP] around texts."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    vocabulary |= {f"w{i}": 4 + i for i in range(90)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    weights = {key: mx.array(value) for key, value in tiny_weights(name).items()}
    backbone = build_encoder(CONFIGS[name], weights)
    return EmbeddingModel(backbone, tokenizer, EmbeddingSettings(Pooling.MEAN, **settings))


def words(*numbers: int) -> str:
    return " ".join(f"w{n % 90}" for n in numbers)
