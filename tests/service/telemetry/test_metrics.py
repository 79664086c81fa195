"""What Prometheus reads from a live server."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import urllib.request
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from mlxforge.engine.stats import EngineStats
from mlxforge.service.telemetry import endpoint
from mlxforge.service.telemetry.metrics import FINISHED_REASONS
from mlxforge.service.telemetry.settings import MetricsSettings
from mlxforge.v1 import embedding_pb2, generation_pb2, model_pb2

from ..fakes import FakeEngine, Script
from ..raw_calls import unary_unary
from ..serving import until
from .conftest import Watch

Request = generation_pb2.GenerateRequest
ROOT = Path(__file__).resolve().parents[3]
DASHBOARD = ROOT / "deploy" / "grafana" / "mlxforge.json"


class Busy(FakeEngine):
    """Says of itself what no other would."""

    said = EngineStats(
        running=3,
        waiting=5,
        kv_used_bytes=250,
        kv_prefix_bytes=50,
        kv_total_bytes=1000,
        prefix_queries=200,
        prefix_hits=80,
        prompt_tokens=120,
        generated_tokens=77,
        preemptions=2,
        rejected=4,
        steps=9,
        step_seconds=1.5,
        memory_active_bytes=11,
        memory_cache_bytes=12,
        memory_peak_bytes=13,
        restarts=6,
    )

    @property
    def stats(self) -> EngineStats:
        return self.said


async def test_an_engines_numbers(watch: Watch) -> None:
    server = await watch(Busy())
    samples = await server.samples()
    of_engine = {
        name.removeprefix("mlxforge_"): value
        for (name, labels), value in samples.items()
        if labels == {("model_name", "fake")}
    }
    expected = {
        "num_requests_running": 3,
        "num_requests_waiting": 5,
        "kv_cache_usage_perc": 0.25,
        "kv_cache_used_bytes": 250,
        "kv_cache_prefix_bytes": 50,
        "kv_cache_total_bytes": 1000,
        "prefix_cache_queries_total": 200,
        "prefix_cache_hits_total": 80,
        "prompt_tokens_total": 200,
        "prompt_tokens_cached_total": 80,
        "generation_tokens_total": 77,
        "num_preemptions_total": 2,
        "requests_rejected_total": 4,
        "engine_steps_total": 9,
        "engine_step_seconds_total": 1.5,
        "memory_active_bytes": 11,
        "memory_cache_bytes": 12,
        "memory_peak_bytes": 13,
        "worker_restarts_total": 6,
    }
    assert {name: of_engine[name] for name in expected} == expected
    states = {
        dict(labels)["state"]: value
        for (name, labels), value in samples.items()
        if name == "mlxforge_model_state"
    }
    assert states.pop("ready") == 1 and not any(states.values()) and len(states) >= 4


async def test_calls_are_counted_by_how_they_end(watch: Watch) -> None:
    server = await watch(FakeEngine(script=Script(word_seconds=0.1, fail_at_word=6)))
    good = await server.generation.Generate(Request(prompt="a b", max_tokens=3, n=2))
    assert good.usage.completion_tokens == 6
    for call in (
        server.generation.Generate(Request(prompt="a")),  # fails at its sixth word
        server.generation.Generate(Request(prompt="a"), timeout=0.35),
        server.generation.Generate(Request(prompt="a", model="nobody's")),
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    stream = server.generation.StreamGenerate(Request(prompt="a"))
    await stream.read()
    stream.cancel()
    await until(lambda: server.engine.live == 0)
    await asyncio.sleep(0.05)

    reasons = {
        reason: await server.value(
            "mlxforge_request_success_total", model_name="fake", finished_reason=reason
        )
        for reason in FINISHED_REASONS
    }
    assert reasons == {"stop": 0, "length": 1, "tool_calls": 0, "abort": 2, "error": 1}
    service = {"grpc_service": "mlxforge.v1.GenerationService"}
    for method, code, count in (
        ("Generate", "OK", 1),
        ("Generate", "INTERNAL", 1),
        ("Generate", "DEADLINE_EXCEEDED", 1),
        ("Generate", "NOT_FOUND", 1),
        ("StreamGenerate", "CANCELLED", 1),
    ):
        labels = {**service, "grpc_method": method, "grpc_code": code}
        assert await server.value("grpc_server_handled_total", **labels) == count, labels

    model = {"model_name": "fake"}
    assert await server.value("mlxforge_e2e_request_latency_seconds_count", **model) == 4
    assert await server.value("mlxforge_time_to_first_token_seconds_count", **model) == 4
    assert await server.value("mlxforge_request_generation_tokens_sum", **model) > 6
    assert await server.value("mlxforge_request_prompt_tokens_sum", **model) == 2
    per_token = await server.value("mlxforge_request_time_per_output_token_seconds_sum", **model)
    assert 0 < per_token < 5, "two choices of three tokens, two gaps of 100 ms each"
    gaps = await server.value("mlxforge_inter_token_latency_seconds_count", **model)
    seconds = await server.value("mlxforge_inter_token_latency_seconds_sum", **model)
    assert gaps >= 2 + 5 and seconds / gaps >= 0.09, "of the first choice only"


async def test_embeddings_are_requests_too(watch: Watch) -> None:
    server = await watch(FakeEngine.embedder())
    request = embedding_pb2.EmbedRequest(inputs=[embedding_pb2.EmbedInput(text="four")])
    await server.embedding.Embed(request)
    samples = await server.samples()
    reason = {("model_name", "fake"), ("finished_reason", "stop")}
    assert samples["mlxforge_request_success_total", frozenset(reason)] == 1
    assert samples["mlxforge_request_prompt_tokens_sum", frozenset({("model_name", "fake")})] == 4


async def test_no_text_of_a_client_becomes_a_label(watch: Watch) -> None:
    """PYSEC-2026-4325: each would be a series for ever, and show others what was asked."""
    server = await watch()
    await server.generation.Generate(Request(prompt="a", max_tokens=1))
    before = set(await server.samples())
    marks = [f"x{secrets.token_hex(8)}" for _ in range(20)]
    for mark in marks:
        metadata = (("x-request-id", mark), ("user-agent", mark), ("x-model", mark))
        calls: tuple[Awaitable[Any], ...] = (
            server.generation.Generate(Request(prompt=mark, model=mark), metadata=metadata),
            server.generation.Generate(
                Request(prompt=mark, cache_salt=mark, stop=[mark], max_tokens=1), metadata=metadata
            ),
            server.models.GetModel(model_pb2.GetModelRequest(model=mark)),
            unary_unary(server.channel, f"/mlxforge.v1.GenerationService/{mark}")(b""),
            unary_unary(server.channel, f"/{mark}/Generate")(b""),
        )
        for call in calls:
            try:
                await call
            except grpc.aio.AioRpcError:
                continue
    text = await server.scrape()
    assert not [mark for mark in marks if mark in text]
    new = {name for name, _ in set(await server.samples()) - before}
    assert len(new) < 30, "series do not grow with what clients write"


async def test_series_of_models_that_are_gone_go_too(watch: Watch) -> None:
    server = await watch()
    for _ in range(2):
        await server.generation.Generate(Request(prompt="a", max_tokens=2))
        assert 'model_name="fake"' in await server.scrape()
    entries = server.registry._entries
    entry = entries.pop("fake")
    assert 'model_name="fake"' not in await server.scrape()
    entries["fake"] = entry
    assert await server.value("mlxforge_e2e_request_latency_seconds_count", model_name="fake") == 0


def listening() -> set[int]:
    """Ports that this process accepts TCP connections on."""
    connections = psutil.Process().net_connections("tcp")
    return {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}


def port(address: str) -> int:
    return int(address.rsplit(":", 1)[1])


async def test_without_the_setting_nothing_listens(watch: Watch) -> None:
    before = listening()
    watching = await watch()
    expected = {port(watching.address), port(watching.telemetry.metrics_address)}
    assert listening() - before == expected
    server = await watch(metrics=MetricsSettings())
    assert listening() - before == expected | {port(server.address)}
    assert server.telemetry.metrics_address == ""
    await server.generation.Generate(Request(prompt="a", max_tokens=1))


async def test_two_servers_share_nothing(watch: Watch) -> None:
    first, second = await watch(), await watch()
    await first.generation.Generate(Request(prompt="a", max_tokens=1))
    name = "mlxforge_e2e_request_latency_seconds_count"
    assert await first.value(name, model_name="fake") == 1
    assert await second.value(name, model_name="fake") == 0


def expressions() -> list[str]:
    """Every PromQL expression of the dashboard, with its variables filled in."""
    dashboard = json.loads(DASHBOARD.read_text())
    return [
        target["expr"].replace("$model", ".+").replace("$__rate_interval", "1m")
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]


async def test_the_dashboard_asks_for_what_there_is(watch: Watch) -> None:
    server = await watch()
    await server.generation.Generate(Request(prompt="a", max_tokens=2))
    known = {name for name, _ in await server.samples()}
    asked = {name for expr in expressions() for name in re.findall(r"\b[a-z]\w+(?=\{|\[)", expr)}
    assert len(asked) > 25
    assert asked <= known, asked - known


async def test_silent_connections_end(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.2)
    server = await watch()
    host, _, port = server.telemetry.metrics_address.rpartition(":")
    silent = [await asyncio.open_connection(host, port) for _ in range(20)]
    async with asyncio.timeout(10):
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()
    assert "mlxforge_model_state" in await server.scrape()


async def test_http_answers_promtool_and_others(watch: Watch) -> None:
    server = await watch()

    def get(url: str) -> tuple[int, str]:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
            return answer.status, answer.headers["Content-Type"]

    status, kind = await asyncio.to_thread(get, server.url)
    assert status == 200 and kind.startswith("text/plain")
