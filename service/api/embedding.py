"""``mlxforge.v1.EmbeddingService``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from mlxforge.engine.errors import FieldViolation
from mlxforge.engine.limits import Limits
from mlxforge.engine.output import EmbeddingOutput
from mlxforge.engine.request import EmbeddingRequest, Pooling
from mlxforge.engine.validation import embedding_violations, raise_if_any
from mlxforge.v1 import embedding_pb2, usage_pb2

from ..registry import Registry
from .context import CallContext

# What of one stream is embedded at once, enough to keep batches full: so many messages, and
# more while they are small.
_LARGE_MESSAGES, _SMALL_MESSAGES, _INPUTS = 4, 32, 512
_Task = asyncio.Task[tuple[str, EmbeddingOutput]]

POOLINGS = {
    embedding_pb2.POOLING_MEAN: Pooling.MEAN,
    embedding_pb2.POOLING_CLS: Pooling.CLS,
    embedding_pb2.POOLING_LAST: Pooling.LAST,
}


@dataclass(slots=True)
class _Window:
    """The messages of one stream that are embedded now, and their inputs."""

    messages: int = 0
    inputs: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def enter(self, inputs: int) -> None:
        """Wait until there is room for a message of so many inputs."""
        while not self._fits(inputs):
            self.left.clear()
            await self.left.wait()
        self.messages += 1
        self.inputs += inputs

    def leave(self, inputs: int) -> None:
        """A message is answered."""
        self.messages -= 1
        self.inputs -= inputs
        self.left.set()

    def _fits(self, inputs: int) -> bool:
        small = self.messages < _SMALL_MESSAGES and self.inputs + inputs <= _INPUTS
        return small or self.messages < _LARGE_MESSAGES


@dataclass(frozen=True, slots=True)
class EmbeddingService:
    """Embeds with the registry's models."""

    registry: Registry
    limits: Limits

    async def embed(
        self, message: embedding_pb2.EmbedRequest, context: CallContext
    ) -> embedding_pb2.EmbedResponse:
        """Embed a list of inputs."""
        context.record.request = message
        model, output = await self._embed(message, context, context.engine_id)
        return embedding_pb2.EmbedResponse(
            id=context.request_id, model=model, embeddings=_embeddings(output), usage=_usage(output)
        )

    async def stream_embed(
        self, messages: AsyncIterator[embedding_pb2.EmbedRequest], context: CallContext
    ) -> AsyncIterator[embedding_pb2.StreamEmbedResponse]:
        """Embed one list after the other, in order; the next ones while one is answered."""
        ahead: asyncio.Queue[_Task | None] = asyncio.Queue()
        window = _Window()
        waiting: set[_Task] = set()

        async def read() -> None:
            try:
                sequence = 0
                async for message in messages:
                    await window.enter(len(message.inputs))
                    request_id = f"{context.engine_id}-{sequence}"
                    task = asyncio.create_task(self._embed(message, context, request_id))
                    waiting.add(task)
                    ahead.put_nowait(task)
                    sequence += 1
            finally:
                ahead.put_nowait(None)

        reader = asyncio.create_task(read())
        try:
            sequence = 0
            while (task := await ahead.get()) is not None:
                model, output = await task
                waiting.discard(task)
                window.leave(len(output.vectors))
                yield embedding_pb2.StreamEmbedResponse(
                    sequence=sequence,
                    model=model,
                    embeddings=_embeddings(output),
                    usage=_usage(output),
                )
                sequence += 1
            await reader
        finally:
            await _cancel(reader, *waiting)

    async def _embed(
        self, message: embedding_pb2.EmbedRequest, context: CallContext, request_id: str
    ) -> tuple[str, EmbeddingOutput]:
        entry = self.registry.embedder(message.model)
        context.use(entry.id)
        request = request_of(message, request_id, context.deadline, self.limits)
        async with self.registry.use(entry) as engine:
            output = await engine.embed(request)
        context.record.prompt_tokens += output.prompt_tokens
        return entry.id, output


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def request_of(
    message: embedding_pb2.EmbedRequest, request_id: str, deadline: float | None, limits: Limits
) -> EmbeddingRequest:
    """The engine's request, checked. Raises ``InvalidRequest`` naming every bad field."""
    violations: list[FieldViolation] = []
    request = EmbeddingRequest(
        request_id=request_id,
        inputs=tuple(_input_of(i, item, violations) for i, item in enumerate(message.inputs)),
        pooling=_pooling_of(message.pooling, violations),
        dimensions=message.dimensions if message.HasField("dimensions") else None,
        normalize=message.normalize if message.HasField("normalize") else True,
        instruction=message.instruction,
        truncate=message.truncate,
        deadline=deadline,
    )
    raise_if_any([*violations, *embedding_violations(request, limits)])
    return request


def _input_of(
    index: int, item: embedding_pb2.EmbedInput, violations: list[FieldViolation]
) -> str | tuple[int, ...]:
    match item.WhichOneof("input"):
        case "text":
            return item.text
        case "token_ids":
            return tuple(item.token_ids.ids)
        case _:
            field = f"inputs[{index}].text"
            violations.append(FieldViolation(field, "one of text and token_ids must be set"))
            return ""


def _pooling_of(value: embedding_pb2.Pooling, violations: list[FieldViolation]) -> Pooling | None:
    if value == embedding_pb2.POOLING_UNSPECIFIED:
        return None
    pooling = POOLINGS.get(value)
    if pooling is None:
        violations.append(FieldViolation("pooling", f"{value} is not a value of Pooling"))
    return pooling


def _embeddings(output: EmbeddingOutput) -> list[embedding_pb2.Embedding]:
    return [
        embedding_pb2.Embedding(index=i, values=vector, truncated=truncated)
        for i, (vector, truncated) in enumerate(zip(output.vectors, output.truncated, strict=True))
    ]


def _usage(output: EmbeddingOutput) -> usage_pb2.Usage:
    return usage_pb2.Usage(prompt_tokens=output.prompt_tokens)
