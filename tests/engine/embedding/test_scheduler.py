"""The scheduler, stepped on the test's thread, with a tiny encoder."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import tokenizers

from mlxforge.engine.embedding import job as job_module
from mlxforge.engine.embedding import scheduler as scheduler_module
from mlxforge.engine.embedding.batching import BatchPolicy
from mlxforge.engine.embedding.model import EmbeddingModel, RowGroup
from mlxforge.engine.embedding.scheduler import EmbeddingScheduler, QueueLimits
from mlxforge.engine.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineError,
    InternalError,
    InvalidRequest,
    ResourceExhausted,
    Unavailable,
)
from mlxforge.engine.output import EmbeddingOutput
from mlxforge.engine.request import EmbeddingRequest, Pooling

from .running import finish, run, tiny_model, words

POLICY = BatchPolicy(max_tokens=128, max_rows=16, free_tokens=16)


@pytest.fixture(scope="module")
def model() -> EmbeddingModel:
    return tiny_model()


@pytest.fixture
def scheduler(model: EmbeddingModel) -> Iterator[EmbeddingScheduler]:
    scheduler = EmbeddingScheduler(model, policy=POLICY)
    yield scheduler
    scheduler.close()


def request(*inputs: str | tuple[int, ...], **settings: Any) -> EmbeddingRequest:
    return EmbeddingRequest("r", inputs, **settings)


def large(count: int = 500) -> EmbeddingRequest:
    return request(*(words(*range(i % 40)) for i in range(count)))


def await_tokens(scheduler: EmbeddingScheduler) -> None:
    """Wait until something tokenized lies ready, without stepping."""
    deadline = time.monotonic() + 20
    while not scheduler._news and time.monotonic() < deadline:
        time.sleep(0.001)


def test_settings_of_a_request(model: EmbeddingModel, scheduler: EmbeddingScheduler) -> None:
    """Rows of different settings in one batch, against plain NumPy."""
    ids = (5, 6, 7, 8, 9)
    hidden = np.array(model.backbone(mx.array([ids])))[0]
    mean = hidden.mean(axis=0)
    expected = {
        (Pooling.MEAN, None, False): mean,
        (Pooling.CLS, None, False): hidden[0],
        (Pooling.LAST, None, False): hidden[-1],
        (None, None, True): mean / np.linalg.norm(mean),
        (None, 7, True): mean[:7] / np.linalg.norm(mean[:7]),
        (Pooling.CLS, 7, False): hidden[0][:7],
    }
    requests = [
        request(ids, (4,), pooling=pooling, dimensions=dimensions, normalize=normalize)
        for pooling, dimensions, normalize in expected
    ]
    for output, vector in zip(run(scheduler, requests), expected.values(), strict=True):
        assert output.vectors.dtype == np.float32
        np.testing.assert_allclose(output.vectors[0], vector, atol=1e-5)
        assert output.prompt_tokens == 6


def test_order_truncation_and_usage(scheduler: EmbeddingScheduler) -> None:
    texts = [words(*range(n)) for n in (60, 0, 3, 90, 1)]
    output = run(scheduler, [request(*texts, truncate=True)])[0]
    assert output.truncated == (False, False, False, True, False)
    assert output.prompt_tokens == 62 + 2 + 5 + 66 + 3
    again = run(scheduler, [request(*reversed(texts), truncate=True)])[0]
    np.testing.assert_allclose(output.vectors, again.vectors[::-1], atol=1e-5)
    ids = run(scheduler, [request(tuple(range(4, 94)), truncate=True)])[0]
    assert ids.truncated == (True,)
    assert ids.prompt_tokens == 66


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (request(), "inputs"),
        (request("w1", words(*range(70))), "inputs[1]"),
        (request("w1", (4,) * 67), "inputs[1].token_ids.ids"),
        (request("w1", ()), "inputs[1].token_ids.ids"),
        (request("w1", (4, 97)), "inputs[1].token_ids.ids"),
        (request("w1", (4, -1)), "inputs[1].token_ids.ids"),
        (request("w1", dimensions=33), "dimensions"),
        (request("w1", dimensions=0), "dimensions"),
        (request("w1", (4,), instruction="find"), "inputs[1].token_ids"),
        (request(*["w1"] * 2049), "inputs"),
        (request("w1", instruction="x" * 4097), "instruction"),
    ],
)
def test_bad_requests_name_their_field(
    scheduler: EmbeddingScheduler, bad: EmbeddingRequest, field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        run(scheduler, [bad])
    assert [violation.field for violation in caught.value.violations] == [field]
    assert not scheduler.busy


def test_a_late_bad_input_ends_only_its_request(scheduler: EmbeddingScheduler) -> None:
    texts = ["w1"] * 600 + [words(*range(70))]
    bad, good = scheduler.submit(request(*texts)), scheduler.submit(request("w2"))
    finish(scheduler)
    with pytest.raises(InvalidRequest, match=r"inputs\[600\]: has 72 tokens, the model takes 66"):
        bad.result(0)
    assert good.result(0).vectors.shape == (1, 32)


def test_small_requests_overtake_large_ones(scheduler: EmbeddingScheduler) -> None:
    big = scheduler.submit(large(1500))
    await_tokens(scheduler)
    for _ in range(3):
        scheduler.step()
    small = scheduler.submit(request("w1 w2"))
    steps = 0
    while not small.done():
        if scheduler.step():
            steps += 1
        assert steps < 60 or len(scheduler._queue), "the small one came last"
    assert not big.done()
    finish(scheduler)
    assert big.result(0).vectors.shape == (1500, 32)


def test_cancelled_within_one_step(scheduler: EmbeddingScheduler) -> None:
    future = scheduler.submit(large(200))
    await_tokens(scheduler)
    scheduler.step()
    assert len(scheduler._queue) > 0
    assert future.cancel()
    scheduler.step()
    assert len(scheduler._queue) == scheduler.num_requests == scheduler._size == 0
    finish(scheduler)
    with pytest.raises(CancelledError):
        future.result(0)


def test_deadline(scheduler: EmbeddingScheduler) -> None:
    expired = scheduler.submit(request("w1", deadline=time.monotonic() - 1))
    kept = scheduler.submit(request("w1", deadline=time.monotonic() + 60))
    finish(scheduler)
    with pytest.raises(DeadlineExceeded):
        expired.result(0)
    kept.result(0)


def test_token_budget(model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Padded tokens of each batch, as the model is given them."""
    scheduler = EmbeddingScheduler(model, policy=BatchPolicy(4096, 256, free_tokens=0))
    shapes = []
    embed = model.embed

    def recorded(groups: Sequence[RowGroup], *, width: int, height: int) -> mx.array:
        shapes.append((sum(len(ids) for ids, _ in groups), width))
        return embed(groups, width=width, height=height)

    monkeypatch.setattr(model, "embed", recorded)
    future = scheduler.submit(large(300))
    while not future.done():
        scheduler.step(128)
    assert len(shapes) > 20
    assert all(rows * width <= 128 for rows, width in shapes)


def test_without_a_budget_batches_are_only_read(scheduler: EmbeddingScheduler) -> None:
    scheduler.submit(large(64))
    await_tokens(scheduler)
    scheduler.step(64)
    assert len(scheduler._flights) == 1 and scheduler.tokens_read == 0
    assert scheduler.step(0)
    assert not scheduler._flights and 0 < scheduler.tokens_read <= 64
    assert scheduler.step(0), "what waits is work"
    assert scheduler.tokens_read == 0
    finish(scheduler)


def test_the_next_batch_starts_before_the_last_is_read(scheduler: EmbeddingScheduler) -> None:
    scheduler.submit(large(64))
    await_tokens(scheduler)
    scheduler.step()
    assert len(scheduler._flights) == 1
    first = scheduler._flights[0]
    scheduler.step()
    assert len(scheduler._flights) == 1
    assert scheduler._flights[0] is not first
    finish(scheduler)


def test_batches_side_by_side(model: EmbeddingModel, scheduler: EmbeddingScheduler) -> None:
    """Several streams, as an engine with a process to itself has on a CPU."""
    policy = dataclasses.replace(POLICY, streams=3)
    beside = EmbeddingScheduler(model, policy=policy)
    requests = [large(200), request("w1"), request(words(*range(60)), "w2")]
    for one, other in zip(run(beside, requests), run(scheduler, requests), strict=True):
        np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)
    beside.submit(large(200))
    await_tokens(beside)
    beside.step()
    assert len(beside._flights[0]) == 3
    beside.close()


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ValueError("bad shapes"), InternalError),
        (RuntimeError("[malloc] Unable to allocate 1 bytes"), ResourceExhausted),
        (MemoryError(), ResourceExhausted),
    ],
)
def test_a_failed_batch_ends_its_requests_alone(
    model: EmbeddingModel,
    scheduler: EmbeddingScheduler,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    expected: type[EngineError],
) -> None:
    embed = model.embed
    for failing in range(4):
        calls = 0

        def failing_embed(*args: Any, failing: int = failing, **kwargs: Any) -> mx.array:
            nonlocal calls
            calls += 1
            if calls == failing + 1:
                raise raised
            return embed(*args, **kwargs)

        monkeypatch.setattr(model, "embed", failing_embed)
        future = scheduler.submit(large(100))
        finish(scheduler)
        with pytest.raises(expected):
            future.result(0)
        after = scheduler.submit(request("w1"))
        finish(scheduler)
        assert after.result(0).vectors.shape == (1, 32)


def test_a_panic_of_the_tokenizer_ends_its_request_alone() -> None:
    """Its BaseException must not end a tokenizer thread with the request still waiting."""
    model = tiny_model()
    bomb = tokenizers.pre_tokenizers.Split(tokenizers.Regex("(a+)+$"), "isolated")
    model.inputs._whole.pre_tokenizer = bomb
    scheduler = EmbeddingScheduler(model, policy=POLICY)
    bad, good = scheduler.submit(request("a" * 40 + "b")), scheduler.submit(request("w1"))
    finish(scheduler)
    with pytest.raises(InternalError, match="retry-limit"):
        bad.result(0)
    assert good.result(0).vectors.shape == (1, 32)


def test_a_fault_of_the_scheduler_ends_requests_not_the_thread(
    scheduler: EmbeddingScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    future = scheduler.submit(large(100))
    await_tokens(scheduler)

    def broken(*_: object) -> None:
        raise KeyError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(scheduler._queue, "take", broken)
        assert scheduler.step()
    with pytest.raises(InternalError):
        future.result(0)
    assert run(scheduler, [request("w1")])[0].vectors.shape == (1, 32)


def test_queue_is_bounded(model: EmbeddingModel) -> None:
    scheduler = EmbeddingScheduler(model, queue_limits=QueueLimits(requests=2, size=100_000))
    futures = [scheduler.submit(request("w1")) for _ in range(2)]
    with pytest.raises(ResourceExhausted) as full:
        scheduler.submit(request("w1"))
    assert full.value.retry_after == 1.0
    finish(scheduler)
    assert all(future.result(0) for future in futures)
    with pytest.raises(ResourceExhausted) as never:
        scheduler.submit(request("w" * 30_000))
    assert never.value.retry_after is None
    scheduler.submit(request("w" * 15_000))
    with pytest.raises(ResourceExhausted) as later:
        scheduler.submit(request("w" * 15_000))
    assert later.value.retry_after == 1.0
    finish(scheduler)
    assert scheduler._size == 0


def test_tokenizing_waits_for_the_device(
    model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "_MAX_WAITING_TOKENS", 2000)
    monkeypatch.setattr(job_module, "_CHUNK_INPUTS", 16)
    scheduler = EmbeddingScheduler(model, policy=POLICY)
    futures = [scheduler.submit(large(600)) for _ in range(3)]
    most = 0
    while scheduler.busy:
        scheduler.step()
        most = max(most, scheduler._queue.waiting_tokens)
    assert most < 2000 + 4 * 16 * 42
    for future in futures:
        np.testing.assert_allclose(
            future.result(0).vectors, futures[0].result(0).vectors, atol=1e-5
        )


def test_close_ends_everything(model: EmbeddingModel) -> None:
    scheduler = EmbeddingScheduler(model, policy=POLICY)
    futures = [scheduler.submit(large(100)) for _ in range(3)]
    scheduler.step()
    scheduler.close()
    for future in futures:
        with pytest.raises(Cancelled):
            future.result(0)
    with pytest.raises(Unavailable):
        scheduler.submit(request("w1"))
    assert not scheduler.step()


def test_every_request_ends_once(model: EmbeddingModel) -> None:
    """Random requests from four threads, with cancels, deadlines and bad inputs."""
    scheduler = EmbeddingScheduler(model, policy=POLICY, queue_limits=QueueLimits(requests=64))
    ended: list[object] = []
    submitted: list[tuple[Future[EmbeddingOutput], list[int], float | None]] = []
    lock = threading.Lock()

    def submit_some(seed: int) -> None:
        source = random.Random(seed)
        for _ in range(60):
            deadline = time.monotonic() + 0.005 if source.random() < 0.1 else None
            sizes = [source.randint(0, 66) for _ in range(source.randint(1, 30))]
            inputs = [words(*range(size)) for size in sizes]
            try:
                future = scheduler.submit(request(*inputs, deadline=deadline))
            except ResourceExhausted:
                time.sleep(0.002)
                continue
            with lock:
                submitted.append((future, sizes, deadline))
            future.add_done_callback(ended.append)
            if source.random() < 0.2:
                time.sleep(source.random() * 0.003)
                future.cancel()

    threads = [threading.Thread(target=submit_some, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        scheduler.step()
    finish(scheduler)
    assert len(submitted) > 50
    assert len(ended) == len(submitted)
    for future, sizes, deadline in submitted:
        if future.cancelled():
            continue
        error = future.exception(0)
        if error is None:
            output = future.result(0)
            assert isinstance(output, EmbeddingOutput)
            assert output.vectors.shape == (len(sizes), 32)
            assert max(sizes) <= 64
        elif isinstance(error, DeadlineExceeded):
            assert deadline is not None
        else:
            assert isinstance(error, EngineError)
            assert max(sizes) > 64
    assert len(scheduler._queue) == scheduler.num_requests == scheduler._size == 0
    scheduler.close()
