"""``mlxforge.v1.GenerationService``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from mlxforge.engine.limits import Limits
from mlxforge.engine.output import RequestOutput
from mlxforge.engine.stream import Put, Run
from mlxforge.v1 import generation_pb2

from ..registry import ModelEntry, Registry
from .context import CallContext, CallRecord
from .generation_request import request_of
from .generation_response import Collector, stream_responses
from .method import closing
from .observer import CallObserver, OutputWatch
from .stream import MessageRate, coalesced


@dataclass(frozen=True, slots=True)
class GenerationService:
    """Generates text with the registry's models."""

    registry: Registry
    limits: Limits
    observer: CallObserver
    _rate: MessageRate = field(default_factory=MessageRate)

    async def generate(
        self, message: generation_pb2.GenerateRequest, context: CallContext
    ) -> generation_pb2.GenerateResponse:
        """Answer when the whole text is there."""
        entry, run = self._start(message, context)
        answer = Collector()
        watch = self.observer.outputs(entry.id)

        def put(output: RequestOutput) -> None:
            _note(output, context.record, watch)
            answer.add(output)

        await run(put)
        return answer.response(context.request_id, entry.id)

    async def stream_generate(
        self, message: generation_pb2.GenerateRequest, context: CallContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        """Stream the text as it comes."""
        entry, run = self._start(message, context)
        backlog = self.limits.max_stream_backlog
        outputs = coalesced(run, max_backlog=backlog, rate=self._rate)
        first = True
        watch = self.observer.outputs(entry.id)
        async with closing(outputs):
            async for output in outputs:
                _note(output, context.record, watch)
                for response in stream_responses(output):
                    if first:
                        response.id, response.model = context.request_id, entry.id
                        first = False
                    yield response

    def _start(
        self, message: generation_pb2.GenerateRequest, context: CallContext
    ) -> tuple[ModelEntry, Run]:
        entry = self.registry.generator(message.model)
        context.use(entry.id)
        context.record.request = message
        request = request_of(message, context, self.limits)

        async def run(put: Put) -> None:
            async with self.registry.use(entry) as engine:
                await engine.run(request, put)

        return entry, run


def _note(output: RequestOutput, record: CallRecord, watch: OutputWatch | None) -> None:
    # The choices' outputs come in turn: the first one's are as far apart as all of them.
    if watch is not None and output.index == 0:
        now = time.perf_counter()
        if record.last_output is None:
            watch.first(now - record.started)
        else:
            watch.gap(now - record.last_output)
        record.last_output = now
    record.completion_tokens += len(output.token_ids)
    finish = output.finish
    if finish is not None:
        record.prompt_tokens = finish.usage.prompt_tokens
        record.cached_tokens = finish.usage.cached_tokens
        record.queue_seconds = finish.timings.queue
        record.first_token_seconds = finish.timings.time_to_first_token
        record.finish_reasons.append(finish.reason.value)
