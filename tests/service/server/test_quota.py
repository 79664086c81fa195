"""Limits of each token: by a clock that the test turns, and over real calls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from mlxforge.engine.errors import DeadlineExceeded, ResourceExhausted
from mlxforge.service.api import CallRecord
from mlxforge.service.security import AuthSettings
from mlxforge.service.server.quota import Bucket, Quota
from mlxforge.v1 import embedding_pb2, generation_pb2

from ..fakes import FakeEngine, Script
from ..serving import Start, details_of, status_of_rpc, until

Request = generation_pb2.GenerateRequest
A, B = "alice-0123456789", "bobby-0123456789"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_keeps_its_rate() -> None:
    clock = Clock()
    bucket = Bucket(600, clock)
    assert bucket.wait() == 0
    bucket.spend(600)
    assert bucket.wait() == pytest.approx(0.1)
    clock.now += 0.1
    assert bucket.wait() == pytest.approx(0, abs=1e-9)
    bucket.spend(6000)  # one call used ten minutes' worth
    assert bucket.wait() == pytest.approx(600)
    clock.now += 599
    assert bucket.wait() == pytest.approx(1)
    clock.now += 10_000_000
    bucket.spend(601)  # it never holds more than a minute's worth
    assert bucket.wait() == pytest.approx(0.2)


def test_the_long_run_rate_is_exact() -> None:
    clock = Clock()
    quota = Quota(clock)
    quota.limit(None, 6000)
    used, began = 0, clock.now
    for step in range(5000):
        try:
            quota.check()
        except ResourceExhausted as error:
            assert error.retry_after is not None
            clock.now += error.retry_after
            continue
        with quota.admit(CallRecord()) as meter:
            meter._record.prompt_tokens = 100 + step % 7
            meter._record.completion_tokens = 250
        used += 350 + step % 7
    minutes = (clock.now - began) / 60
    assert used == pytest.approx(6000 * (minutes + 1), rel=0.01)


def test_running_calls_count_as_they_go() -> None:
    quota = Quota(Clock())
    quota.limit(None, 100)
    record = CallRecord()
    with quota.admit(record):
        quota.check()
        record.completion_tokens = 60
        quota.check()
        record.prompt_tokens = 40
        with pytest.raises(ResourceExhausted, match="100 tokens per minute") as caught:
            quota.check()
        assert caught.value.retry_after == pytest.approx(0.6)
    with pytest.raises(ResourceExhausted) as again:
        quota.check()
    assert again.value.retry_after == caught.value.retry_after, "charged once"


@pytest.mark.parametrize(
    ("leaves", "counted", "charged"),
    [
        (asyncio.CancelledError(), 0, 1000),
        (DeadlineExceeded("x"), 0, 1000),
        (asyncio.CancelledError(), 30, 30),
        (ResourceExhausted("the queue is full"), 0, 0),
        (None, 30, 30),
    ],
    ids=["cancelled", "late", "cancelled at the end", "refused", "done"],
)
def test_running_away_is_not_free(leaves: BaseException | None, counted: int, charged: int) -> None:
    quota = Quota(Clock())
    quota.limit(None, 60)
    record = CallRecord()
    try:
        with quota.admit(record) as meter:
            meter.request(4000)
            record.prompt_tokens = counted
            if leaves is not None:
                raise leaves
    except (asyncio.CancelledError, DeadlineExceeded, ResourceExhausted):
        pass
    quota.spend(60)
    with pytest.raises(ResourceExhausted) as caught:
        quota.check()
    assert caught.value.retry_after == pytest.approx(1 + charged)


def test_limits_that_change() -> None:
    quota = Quota(Clock())
    quota.limit(1, 60)
    quota.spend(1000)
    quota.limit(1, 60)
    with pytest.raises(ResourceExhausted):
        quota.check()
    quota.limit(2, None)
    quota.check()
    refused = pytest.raises(ResourceExhausted, match="already runs 2 calls")
    with quota.admit(CallRecord()), quota.admit(CallRecord()), refused:
        quota.admit(CallRecord()).__enter__()
    with quota.admit(CallRecord()):
        pass


def bearer(token: str) -> dict[str, Any]:
    return {"metadata": [("authorization", f"Bearer {token}")]}


async def refusal(call: Any) -> tuple[str, float]:
    """Reason and seconds to wait of a call that is refused for now."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = details_of(status_of_rpc(caught.value))
    delay = details["RetryInfo"].retry_delay
    return details["ErrorInfo"].reason, delay.seconds + delay.nanos / 1e9


async def test_calls_at_once_over_grpc(start: Start) -> None:
    script = Script(hold_at_word=1)
    auth = AuthSettings(tokens=(f"a:{A}", f"b:{B}"), max_concurrent_calls=2)
    client = await start(FakeEngine(script=script), auth=auth)
    ask = client.generation.Generate
    running = [asyncio.ensure_future(ask(Request(prompt="x"), **bearer(A))) for _ in range(2)]
    await until(lambda: client.engine.live == 2)
    reason, seconds = await refusal(ask(Request(prompt="x"), **bearer(A)))
    assert (reason, seconds) == ("TOO_MANY_CALLS_OF_TOKEN", 1.0)
    other = asyncio.ensure_future(ask(Request(prompt="x"), **bearer(B)))
    await until(lambda: client.engine.live == 3)
    running[0].cancel()
    await until(lambda: client.engine.live == 2)
    third = asyncio.ensure_future(ask(Request(prompt="x"), **bearer(A)))
    await until(lambda: client.engine.live == 3)
    script.released.set()
    await asyncio.gather(running[1], other, third)


async def test_tokens_per_minute_over_grpc(start: Start) -> None:
    auth = AuthSettings(tokens=(f"a:{A}", f"b:{B}"), tokens_per_minute=60)
    client = await start(auth=auth)
    ask = client.generation.Generate
    answer = await ask(Request(prompt="one two", max_tokens=88), **bearer(A))
    assert answer.usage.prompt_tokens + answer.usage.completion_tokens == 90
    reason, seconds = await refusal(ask(Request(prompt="x"), **bearer(A)))
    assert reason == "TOKENS_PER_MINUTE" and 29 < seconds <= 31
    await ask(Request(prompt="x"), **bearer(B))
    assert client.engine.started == 2, "refused before the engine"


async def test_a_stream_of_embeddings_is_counted_within(start: Start) -> None:
    auth = AuthSettings(tokens=(f"a:{A}",), tokens_per_minute=10)
    client = await start(FakeEngine.embedder(), auth=auth)
    call = client.embedding.StreamEmbed(**bearer(A))
    for _ in range(3):
        await call.write(embedding_pb2.EmbedRequest(inputs=[{"text": "four"}]))
        assert (await call.read()).usage.prompt_tokens == 4
    with pytest.raises(grpc.aio.AioRpcError, match="tokens per minute"):
        await call.write(embedding_pb2.EmbedRequest(inputs=[{"text": "four"}]))
        await call.read()
