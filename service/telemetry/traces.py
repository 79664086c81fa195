"""OpenTelemetry: one server span per call, with what a model did in it.

Names are the semantic conventions' (RPC and GenAI, 1.41): a call's text is never in a span.
The packages are the extra ``otel``; nothing of them is imported unless spans are wanted.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from google.rpc import code_pb2

from mlxforge.v1 import embedding_pb2, generation_pb2

from ..api.observer import CallEnd, OutputWatch
from ..config import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

# Of sending a batch, retries included. The SDK's own 10 s would hold up the server's end where
# nobody takes the spans.
_EXPORT_SECONDS = 3.0
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

# Codes that say that the server failed, not the caller (semantic conventions for gRPC).
_FAULTS = frozenset(
    {
        code_pb2.UNKNOWN,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.UNIMPLEMENTED,
        code_pb2.INTERNAL,
        code_pb2.UNAVAILABLE,
        code_pb2.DATA_LOSS,
    }
)
_SAMPLING_PARAMS = (
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
)


def traces_wanted(endpoint: str) -> bool:
    """Whether the setting or the standard variables name a place for spans."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return bool(endpoint)
    return bool(endpoint) or any(os.environ.get(name) for name in _ENDPOINTS)


class Traces:
    """Implements ``CallObserver``."""

    def __init__(self, exporter: SpanExporter) -> None:
        """Spans go to ``exporter`` in batches, from a thread of its own."""
        from opentelemetry import trace
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create()
        if "OTEL_SERVICE_NAME" not in os.environ:
            own = {SERVICE_NAME: "mlxforge"}
            variables = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
            resource = resource if SERVICE_NAME in variables else resource.merge(Resource(own))
        # A provider of our own: what else the process traces stays as it is.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("mlxforge")
        self._propagator = TraceContextTextMapPropagator()
        self._server_kind = trace.SpanKind.SERVER
        self._failed = trace.Status(trace.StatusCode.ERROR)

    @classmethod
    def over_otlp(cls, endpoint: str) -> Traces:
        """To ``endpoint`` (http:// or https://); "": as the standard variables say.

        Raises ``ConfigError`` where the packages are missing or the endpoint is no address.
        """
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise ConfigError(
                f"telemetry.otlp_endpoint must be as http://127.0.0.1:4317, not {endpoint!r}"
            )
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise ConfigError(
                "traces need OpenTelemetry's packages: pip install 'mlxforge[otel]'"
            ) from error
        timeout = None if any(name in os.environ for name in _TIMEOUTS) else _EXPORT_SECONDS
        return cls(OTLPSpanExporter(endpoint=endpoint or None, timeout=timeout))

    def close(self) -> None:
        """Send what is left; blocks for seconds where nobody takes it."""
        self._provider.shutdown()

    def outputs(self, model_id: str) -> OutputWatch | None:
        """Nothing is traced of single outputs."""
        return None

    def ended(self, end: CallEnd) -> None:
        """Make the span of a call."""
        now = time.time_ns()
        span = self._tracer.start_span(
            end.method,
            context=self._propagator.extract(end.context.trace),
            kind=self._server_kind,
            attributes=_rpc_attributes(end),
            start_time=now - round(end.seconds * 1e9),
        )
        if span.is_recording() and end.context.record.request is not None:
            span.set_attributes(_gen_ai_attributes(end, end.context.record.request))
        if end.code in _FAULTS:
            span.set_status(self._failed)
        span.end(now)


def _rpc_attributes(end: CallEnd) -> dict[str, Any]:
    code = code_pb2.Code.Name(end.code)
    attributes = {
        "rpc.system.name": "grpc",
        "rpc.method": end.method,
        "rpc.response.status_code": code,
        "mlxforge.request.id": end.context.request_id,
    }
    if end.error is not None:
        attributes["error.type"] = end.reason or code
    if end.context.principal:
        attributes["enduser.id"] = end.context.principal
    return attributes


def _gen_ai_attributes(end: CallEnd, request: Message) -> dict[str, Any]:
    record = end.context.record
    attributes: dict[str, Any] = {
        "gen_ai.provider.name": "mlxforge",
        # The registry's name for it: what a caller wrote was looked up there.
        "gen_ai.request.model": record.model,
        "gen_ai.response.model": record.model,
        "gen_ai.response.id": end.context.request_id,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
    }
    if isinstance(request, embedding_pb2.EmbedRequest):
        attributes["gen_ai.operation.name"] = "embeddings"
        return attributes
    if isinstance(request, generation_pb2.GenerateRequest):
        chat = request.WhichOneof("input") == "chat"
        attributes["gen_ai.operation.name"] = "chat" if chat else "text_completion"
        attributes |= _request_attributes(request)
    attributes["gen_ai.request.stream"] = end.method.endswith("/StreamGenerate")
    attributes["gen_ai.usage.output_tokens"] = record.completion_tokens
    attributes["gen_ai.usage.cache_read.input_tokens"] = record.cached_tokens
    if record.finish_reasons:
        attributes["gen_ai.response.finish_reasons"] = tuple(record.finish_reasons)
    if record.first_token_seconds is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = record.first_token_seconds
    return attributes


def _request_attributes(request: generation_pb2.GenerateRequest) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        f"gen_ai.request.{name}": getattr(request.sampling_params, name)
        for name in _SAMPLING_PARAMS
        if request.sampling_params.HasField(name)
    }
    if request.HasField("max_tokens"):
        attributes["gen_ai.request.max_tokens"] = request.max_tokens
    if request.HasField("n") and request.n != 1:
        attributes["gen_ai.request.choice.count"] = request.n
    return attributes
