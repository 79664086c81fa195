"""Spans as a collector gets them over OTLP; none, and nothing imported, unless wanted."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from mlxforge.service.config import ConfigError
from mlxforge.service.telemetry.settings import TelemetrySettings
from mlxforge.service.telemetry.traces import Traces, traces_wanted
from mlxforge.v1 import chat_pb2, embedding_pb2, generation_pb2, model_pb2, sampling_pb2

from ..fakes import FakeEngine, Script
from .conftest import Watch
from .watched import Watched

Request = generation_pb2.GenerateRequest
Attributes = dict[str, Any]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans it is sent."""

    def __init__(self) -> None:
        self.spans: list[trace_pb2.Span] = []
        self.resources: list[Attributes] = []
        self.address = ""

    async def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            self.resources.append(attributes_of(resource.resource))
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()


def attributes_of(message: Any) -> Attributes:
    def value_of(value: Any) -> Any:
        kind = value.WhichOneof("value")
        if kind == "array_value":
            return [value_of(item) for item in value.array_value.values]
        return getattr(value, kind)

    return {attribute.key: value_of(attribute.value) for attribute in message.attributes}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
        collector, server
    )  # generated, without types
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    collector.address = f"http://127.0.0.1:{port}"
    yield collector
    await server.stop(None)


async def sent(server: Watched, collector: Collector) -> dict[str, tuple[Any, Attributes]]:
    """Spans with their attributes by name, once the server has sent what it has."""
    traces = server.telemetry._traces
    assert traces is not None
    await asyncio.to_thread(traces._provider.force_flush)
    return {span.name: (span, attributes_of(span)) for span in collector.spans}


async def test_a_call_is_a_span_of_its_callers_trace(watch: Watch, collector: Collector) -> None:
    server = await watch(telemetry=TelemetrySettings(otlp_endpoint=collector.address))
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    message = chat_pb2.Message(role="user", content="hush hush")
    sampling = sampling_pb2.SamplingParams(temperature=0.5, seed=7)
    request = Request(
        chat=chat_pb2.Chat(messages=[message]), max_tokens=3, n=2, sampling_params=sampling
    )
    stream = server.generation.StreamGenerate(
        request, metadata=(("traceparent", f"00-{trace}-{parent}-01"), ("tracestate", "a=b"))
    )
    [first, *_] = [response async for response in stream]
    await server.models.ListModels(model_pb2.ListModelsRequest())
    spans = await sent(server, collector)

    span, attributes = spans["mlxforge.v1.GenerationService/StreamGenerate"]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, parent)
    assert span.trace_state == "a=b"
    assert span.kind == trace_pb2.Span.SPAN_KIND_SERVER
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9
    assert span.status.code == trace_pb2.Status.STATUS_CODE_UNSET
    first_chunk = attributes.pop("gen_ai.response.time_to_first_chunk")
    assert 0 <= first_chunk < 60
    assert attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "mlxforge.v1.GenerationService/StreamGenerate",
        "rpc.response.status_code": "OK",
        "mlxforge.request.id": first.id,
        "gen_ai.provider.name": "mlxforge",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "fake",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 3,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.response.id": first.id,
        "gen_ai.response.model": "fake",
        "gen_ai.response.finish_reasons": ["length", "length"],
        "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 6,
        "gen_ai.usage.cache_read.input_tokens": 0,
    }
    assert "hush" not in str(collector.spans)
    other, plain = spans["mlxforge.v1.ModelService/ListModels"]
    assert not any(name.startswith("gen_ai.") for name in plain)
    assert other.trace_id != span.trace_id and not other.parent_span_id
    assert collector.resources[0]["service.name"] == "mlxforge"


async def test_errors_and_embeddings(watch: Watch, collector: Collector) -> None:
    endpoint = TelemetrySettings(otlp_endpoint=collector.address)
    server = await watch(FakeEngine(script=Script(fail_at_word=1)), telemetry=endpoint)
    with pytest.raises(grpc.aio.AioRpcError):
        await server.generation.Generate(Request(prompt="a"))
    with pytest.raises(grpc.aio.AioRpcError):
        await server.models.GetModel(model_pb2.GetModelRequest(model="nobody's"))
    spans = await sent(server, collector)
    span, attributes = spans["mlxforge.v1.GenerationService/Generate"]
    assert span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert attributes["rpc.response.status_code"] == "INTERNAL"
    span, attributes = spans["mlxforge.v1.ModelService/GetModel"]
    assert span.status.code == trace_pb2.Status.STATUS_CODE_UNSET, "the caller's mistake"
    assert attributes["error.type"] == "MODEL_NOT_FOUND"

    server = await watch(FakeEngine.embedder(), telemetry=endpoint)
    item = embedding_pb2.EmbedInput(text="four")
    await server.embedding.Embed(embedding_pb2.EmbedRequest(inputs=[item]))
    _, attributes = (await sent(server, collector))["mlxforge.v1.EmbeddingService/Embed"]
    assert attributes["gen_ai.operation.name"] == "embeddings"
    assert attributes["gen_ai.usage.input_tokens"] == 4


async def test_a_trace_that_is_none_starts_a_new_one(watch: Watch, collector: Collector) -> None:
    server = await watch(telemetry=TelemetrySettings(otlp_endpoint=collector.address))
    for bad in ("00-zz-1-01", "x" * 500, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        await server.generation.Generate(
            Request(prompt="a", max_tokens=1), metadata=(("traceparent", bad),)
        )
    await sent(server, collector)
    assert len({span.trace_id for span in collector.spans}) == 3
    assert not any(span.parent_span_id for span in collector.spans)


async def test_nobody_takes_the_spans(watch: Watch) -> None:
    """Calls go on, and the server's end does not wait for long."""
    server = await watch(telemetry=TelemetrySettings(otlp_endpoint="http://127.0.0.1:9"))
    answer = await server.generation.Generate(Request(prompt="a", max_tokens=1))
    assert answer.usage.completion_tokens == 1
    async with asyncio.timeout(9):
        await asyncio.to_thread(server.telemetry.close)
    server.telemetry._traces = server.telemetry._endpoint = None


def test_when_spans_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not traces_wanted("")
    assert traces_wanted("http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    assert traces_wanted("")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert not traces_wanted("")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not traces_wanted("http://127.0.0.1:4317")
    with pytest.raises(ConfigError, match="http://127"):
        Traces.over_otlp("127.0.0.1:4317")


def test_nothing_is_imported_unless_wanted() -> None:
    program = (
        "import sys, mlxforge.service.server.run\n"
        "print([m for m in sys.modules if m.startswith(('opentelemetry', 'mlx.core'))])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip() == "[]"
