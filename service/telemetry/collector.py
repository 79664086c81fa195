"""The engines' own numbers, read when somebody scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mlxforge.engine.stats import EngineStats

from ..registry import ModelState, Registry

# Suffix, what it says, and how it follows from the stats.
_Row = tuple[str, str, Callable[[EngineStats], float]]
_GAUGES: tuple[_Row, ...] = (
    ("num_requests_running", "Choices in prefill or decode.", lambda s: s.running),
    ("num_requests_waiting", "Requests in the queue.", lambda s: s.waiting),
    (
        "kv_cache_usage_perc",
        "Share of the KV budget in use, cached prefixes included: 1 is all of it.",
        lambda s: s.kv_used_bytes / s.kv_total_bytes if s.kv_total_bytes else 0.0,
    ),
    ("kv_cache_used_bytes", "KV memory in use, with cached prefixes.", lambda s: s.kv_used_bytes),
    (
        "kv_cache_prefix_bytes",
        "KV memory of cached prefixes, given up for requests.",
        lambda s: s.kv_prefix_bytes,
    ),
    ("kv_cache_total_bytes", "The budget of KV memory.", lambda s: s.kv_total_bytes),
    (
        "memory_active_bytes",
        "Memory of MLX's arrays: weights, KV memory, activations.",
        lambda s: s.memory_active_bytes,
    ),
    ("memory_cache_bytes", "Freed buffers kept for reuse.", lambda s: s.memory_cache_bytes),
    ("memory_peak_bytes", "The most memory active so far.", lambda s: s.memory_peak_bytes),
)
_COUNTERS: tuple[_Row, ...] = (
    (
        "prompt_tokens",
        "Prompt tokens processed, those found in the prefix cache included.",
        lambda s: s.prompt_tokens + s.prefix_hits,
    ),
    ("prompt_tokens_cached", "Prompt tokens found in the prefix cache.", lambda s: s.prefix_hits),
    ("generation_tokens", "Tokens generated.", lambda s: s.generated_tokens),
    ("prefix_cache_queries", "Prompt tokens looked up.", lambda s: s.prefix_queries),
    ("prefix_cache_hits", "Prompt tokens found.", lambda s: s.prefix_hits),
    ("num_preemptions", "Choices put back into the queue.", lambda s: s.preemptions),
    ("requests_rejected", "Requests turned away: queue full.", lambda s: s.rejected),
    ("engine_steps", "Decode steps, and batches of embeddings.", lambda s: s.steps),
    ("engine_step_seconds", "Time spent in steps.", lambda s: s.step_seconds),
    ("worker_restarts", "Times the model's worker was started again.", lambda s: s.restarts),
)


class EngineCollector(Collector):
    """Metrics of every model of a registry."""

    def __init__(self, registry: Registry, keep_series: Callable[[set[str]], None]) -> None:
        """``keep_series`` is told at each scrape which models there are."""
        self._registry = registry
        self._keep_series = keep_series

    def describe(self) -> Iterable[Metric]:
        """Names alone: what registration wants to know."""
        yield from self._families([])
        yield self._states()

    def collect(self) -> Iterable[Metric]:
        """Called on the thread that answers a scrape."""
        entries = list(self._registry)
        self._keep_series({entry.id for entry in entries})
        yield from self._families([(entry.id, entry.client.stats) for entry in entries])
        yield self._states()

    def _families(self, stats: list[tuple[str, EngineStats]]) -> Iterator[Metric]:
        for suffix, text, value in _GAUGES:
            gauge = GaugeMetricFamily(f"mlxforge_{suffix}", text, labels=("model_name",))
            for model_id, of_model in stats:
                gauge.add_metric((model_id,), value(of_model))
            yield gauge
        for suffix, text, value in _COUNTERS:
            counter = CounterMetricFamily(f"mlxforge_{suffix}", text, labels=("model_name",))
            for model_id, of_model in stats:
                counter.add_metric((model_id,), value(of_model))
            yield counter

    def _states(self) -> Metric:
        family = GaugeMetricFamily(
            "mlxforge_model_state",
            "1 for the state that a model is in.",
            labels=("model_name", "state"),
        )
        for entry in list(self._registry):
            for state in ModelState:
                family.add_metric((entry.id, state.value), float(entry.state is state))
        return family
