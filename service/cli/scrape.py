"""What a server's metrics say: read once, or as what happened between two readings."""

from __future__ import annotations

import http.client
import itertools
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

MAX_BYTES = 16 << 20
_PREFIX = "mlxforge_"


@dataclass(slots=True)
class ModelScrape:
    """One model's samples by name without the prefix; of histograms the counts up to a bound."""

    values: dict[str, float] = field(default_factory=dict)
    buckets: dict[str, dict[float, float]] = field(default_factory=dict)
    state: str = ""


@dataclass(slots=True)
class Scrape:
    """All models at one moment, ``time.monotonic()``."""

    time: float
    models: dict[str, ModelScrape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelView:
    """One row of ``mlxforge top``. Rates are per second; None: nothing happened to tell."""

    model: str
    state: str
    running: int
    waiting: int
    requests_per_second: float
    prompt_tokens_per_second: float
    generation_tokens_per_second: float
    time_to_first_token_p50: float | None
    time_to_first_token_p99: float | None
    inter_token_latency_p50: float | None
    inter_token_latency_p99: float | None
    prefix_cache_hit_rate: float | None
    kv_cache_used_bytes: int
    kv_cache_total_bytes: int
    memory_active_bytes: int
    worker_restarts: int


def fetch(url: str, timeout: float) -> Scrape:
    """Read a server's metrics. Raises ``OSError``, and ``ValueError`` for what is none."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is not an http:// address")
    # No proxy of the environment: this asks the machine named.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as response:
            text = response.read(MAX_BYTES).decode(errors="replace")
    except http.client.HTTPException as error:
        raise ValueError(f"{url} does not speak HTTP") from error
    scrape = parse(text)
    if not scrape.models and "mlxforge_" not in text:
        raise ValueError(f"what {url} shows are not the metrics of mlxforge")
    return scrape


def parse(text: str) -> Scrape:
    """The samples of Prometheus' text format."""
    scrape = Scrape(time.monotonic())
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            model_id = sample.labels.get("model_name")
            if model_id is None or not sample.name.startswith(_PREFIX):
                continue
            model = scrape.models.setdefault(model_id, ModelScrape())
            name = sample.name.removeprefix(_PREFIX)
            if "le" in sample.labels:
                bounds = model.buckets.setdefault(name.removesuffix("_bucket"), {})
                bounds[float(sample.labels["le"])] = sample.value
            elif name == "model_state":
                model.state = sample.labels["state"] if sample.value else model.state
            else:
                model.values[name] = model.values.get(name, 0.0) + sample.value
    return scrape


def views(earlier: Scrape, later: Scrape, latencies_since: Scrape | None) -> list[ModelView]:
    """What happened between two readings.

    Latencies are of what happened since a third one (None: since the server's start), which
    may be further back: a second of a quiet server says little.
    """
    seconds = max(later.time - earlier.time, 1e-9)
    return [
        _view(
            model_id,
            model,
            earlier.models.get(model_id, ModelScrape()),
            latencies_since.models.get(model_id) if latencies_since is not None else None,
            seconds,
        )
        for model_id, model in sorted(later.models.items())
    ]


def _view(
    model_id: str,
    now: ModelScrape,
    before: ModelScrape,
    since: ModelScrape | None,
    seconds: float,
) -> ModelView:
    def value(name: str) -> int:
        return int(now.values.get(name, 0))

    def rate(name: str) -> float:
        return _grown(before.values, now.values, name) / seconds

    def quantile(name: str, share: float) -> float | None:
        return histogram_quantile(share, _difference(since, now, name))

    earlier = since.values if since is not None else {}
    queries = _grown(earlier, now.values, "prefix_cache_queries_total")
    hits = _grown(earlier, now.values, "prefix_cache_hits_total")
    return ModelView(
        model=model_id,
        state=now.state,
        running=value("num_requests_running"),
        waiting=value("num_requests_waiting"),
        requests_per_second=rate("request_success_total"),
        prompt_tokens_per_second=rate("prompt_tokens_total"),
        generation_tokens_per_second=rate("generation_tokens_total"),
        time_to_first_token_p50=quantile("time_to_first_token_seconds", 0.5),
        time_to_first_token_p99=quantile("time_to_first_token_seconds", 0.99),
        inter_token_latency_p50=quantile("inter_token_latency_seconds", 0.5),
        inter_token_latency_p99=quantile("inter_token_latency_seconds", 0.99),
        prefix_cache_hit_rate=hits / queries if queries else None,
        kv_cache_used_bytes=value("kv_cache_used_bytes"),
        kv_cache_total_bytes=value("kv_cache_total_bytes"),
        memory_active_bytes=value("memory_active_bytes"),
        worker_restarts=value("worker_restarts_total"),
    )


def _grown(before: dict[str, float], now: dict[str, float], name: str) -> float:
    """By how much a counter grew; one that is smaller began anew."""
    new, old = now.get(name, 0.0), before.get(name, 0.0)
    return new - old if new >= old else new


def _difference(
    before: ModelScrape | None, now: ModelScrape, name: str
) -> Sequence[tuple[float, float]]:
    """Upper bounds of a histogram with the counts up to each, of what came between."""
    new = sorted(now.buckets.get(name, {}).items())
    old = before.buckets.get(name, {}) if before is not None else {}
    if any(count < old.get(bound, 0.0) for bound, count in new):
        return new  # began anew
    return [(bound, count - old.get(bound, 0.0)) for bound, count in new]


def histogram_quantile(share: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """The value below which ``share`` of the observations lie, as PromQL estimates it.

    ``buckets`` are upper bounds, rising to infinity, with the counts up to each. Within a
    bucket observations are taken to be spread evenly; beyond the last bound, to lie on it.
    """
    if not buckets or not buckets[-1][1]:
        return None
    rank = share * buckets[-1][1]
    for (low, below), (high, count) in itertools.pairwise([(0.0, 0.0), *buckets]):
        if count >= rank and count > below:
            if high == float("inf"):
                return low
            return low + (high - low) * (rank - below) / (count - below)
    return None
