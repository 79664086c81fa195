"""Prometheus metrics of calls and engines.

Names and buckets are vLLM's under our prefix, so that its users' dashboards need one rename;
those of RPCs are go-grpc-prometheus'. Labels hold the registry's model ids, names of the
schema and values of enumerations: never a client's text, which would make a new series for
each (PYSEC-2026-4325).
"""

from __future__ import annotations

import threading

from google.rpc import code_pb2
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from mlxforge.engine.output import FinishReason

from ..api.observer import CallEnd, OutputWatch
from ..registry import Registry
from .collector import EngineCollector
from .gaps import GapHistogram

PREFIX = "mlxforge_"

# Seconds; vLLM's buckets of requests, first tokens and tokens.
REQUEST_BUCKETS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
FIRST_TOKEN_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5),
    *(10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
# vLLM's begin at 10 ms; small models on a fast GPU take 2.
TOKEN_BUCKETS = (
    *(0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5),
    *(10.0, 20.0, 40.0, 80.0),
)
# Tokens: 1, 2, 5, 10 ... up to long contexts.
COUNT_BUCKETS = tuple(m * 10**e for e in range(6) for m in (1, 2, 5))

_MODEL = ("model_name",)
# RPCs that are one request to a model.
_REQUESTS = frozenset({"Generate", "StreamGenerate", "Embed"})
FINISHED_REASONS = ("stop", "length", "tool_calls", "abort", "error")
_ABORTED = frozenset({code_pb2.CANCELLED, code_pb2.DEADLINE_EXCEEDED})


class Metrics:
    """Implements ``CallObserver``. ``prometheus`` is what is scraped, from any thread."""

    def __init__(self, registry: Registry) -> None:
        self.prometheus = CollectorRegistry(auto_describe=True)
        # First, so that the series of new models are in the same scrape.
        self.prometheus.register(EngineCollector(registry, self._keep_series))
        self._watches: dict[str, OutputWatch] = {}
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self._first_token = self._seconds(
            "time_to_first_token", "From a request's arrival to its first token.",
            FIRST_TOKEN_BUCKETS,
        )  # fmt: skip
        self._gap = GapHistogram(
            PREFIX + "inter_token_latency_seconds",
            "Between two outputs of a stream.",
            TOKEN_BUCKETS,
        )
        self.prometheus.register(self._gap)
        self._per_token = self._seconds(
            "request_time_per_output_token",
            "Mean time of a request's tokens after the first.",
            TOKEN_BUCKETS,
        )
        self._latency = self._seconds(
            "e2e_request_latency", "From a request's arrival to its end.", REQUEST_BUCKETS
        )
        self._queue = self._seconds(
            "request_queue_time", "Waiting to be admitted.", REQUEST_BUCKETS
        )
        self._prefill = self._seconds(
            "request_prefill_time", "From admission to the first token.", REQUEST_BUCKETS
        )
        self._decode = self._seconds(
            "request_decode_time", "From the first token to the last.", REQUEST_BUCKETS
        )
        self._prompt = self._histogram(
            "request_prompt_tokens", "Prompt tokens of a request.", COUNT_BUCKETS
        )
        self._generated = self._histogram(
            "request_generation_tokens", "Generated tokens of a request.", COUNT_BUCKETS
        )
        self._success = Counter(
            PREFIX + "request_success",
            "Requests that have ended, by how: also those that were aborted or failed.",
            (*_MODEL, "finished_reason"),
            registry=self.prometheus,
        )
        self._handled = Counter(
            "grpc_server_handled",
            "RPCs that have ended, by status.",
            ("grpc_service", "grpc_method", "grpc_code"),
            registry=self.prometheus,
        )
        self._handling = Histogram(
            "grpc_server_handling_seconds",
            "How long RPCs took.",
            ("grpc_service", "grpc_method"),
            registry=self.prometheus,
        )
        ProcessCollector(registry=self.prometheus)

    def outputs(self, model_id: str) -> OutputWatch | None:
        """See ``CallObserver.outputs``."""
        watch = self._watches.get(model_id)
        if watch is None:
            watch = self._watches[model_id] = OutputWatch(
                self._first_token.labels(model_id).observe, self._gap.observer(model_id)
            )
        return watch

    def ended(self, end: CallEnd) -> None:
        """See ``CallObserver.ended``."""
        service, _, method = end.method.rpartition("/")
        code = code_pb2.Code.Name(end.code)
        self._handled.labels(service, method, code).inc()
        self._handling.labels(service, method).observe(end.seconds)
        if end.context.record.model and method in _REQUESTS:
            self._count_request(end)

    def _count_request(self, end: CallEnd) -> None:
        record = end.context.record
        model = record.model
        self._success.labels(model, finished_reason(end)).inc()
        self._latency.labels(model).observe(end.seconds)
        if record.prompt_tokens:
            self._prompt.labels(model).observe(record.prompt_tokens)
        if record.completion_tokens:
            self._generated.labels(model).observe(record.completion_tokens)
        queue, first = record.queue_seconds, record.first_token_seconds
        if queue is None or first is None:
            return
        self._queue.labels(model).observe(queue)
        self._prefill.labels(model).observe(max(0.0, first - queue))
        decoding = max(0.0, end.seconds - first)
        self._decode.labels(model).observe(decoding)
        per_choice = record.completion_tokens / max(1, len(record.finish_reasons))
        if per_choice > 1:
            self._per_token.labels(model).observe(decoding / (per_choice - 1))

    def _keep_series(self, model_ids: set[str]) -> None:
        """Begin the series of these models at 0 and drop those of others.

        Models may be loaded under any name: without this the series would only grow.
        """
        with self._lock:
            self._keep(model_ids)

    def _keep(self, model_ids: set[str]) -> None:
        of_models = (
            *(self._first_token, self._per_token, self._latency, self._queue),
            *(self._prefill, self._decode, self._prompt, self._generated),
        )
        for model_id in model_ids:
            for histogram in of_models:
                histogram.labels(model_id)
            self.outputs(model_id)
            for reason in FINISHED_REASONS:
                self._success.labels(model_id, reason)
        for model_id in self._known - model_ids:
            self._watches.pop(model_id, None)
            self._gap.remove(model_id)
            for histogram in of_models:
                histogram.remove(model_id)
            self._success.remove_by_labels({"model_name": model_id})
        self._known = model_ids

    def _seconds(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return self._histogram(f"{name}_seconds", text, buckets)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(PREFIX + name, text, _MODEL, registry=self.prometheus, buckets=buckets)


def finished_reason(end: CallEnd) -> str:
    """How a request ended, one of ``FINISHED_REASONS``."""
    if end.error is not None:
        return "abort" if end.code in _ABORTED else "error"
    reasons = end.context.record.finish_reasons
    if not reasons:
        return FinishReason.STOP.value  # of embeddings, as vLLM's pooling
    return "abort" if reasons[-1] == FinishReason.CANCELLED else reasons[-1]
