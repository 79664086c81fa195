"""A worker's process: how it starts, what it inherits and says, how it ends."""

from __future__ import annotations

import asyncio
import logging
import os

import psutil
import pytest

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.errors import (
    Cancelled,
    EngineError,
    InternalError,
    LoadError,
    ResourceExhausted,
    Unavailable,
)
from mlxforge.engine.loader.progress import Progress
from mlxforge.service.worker.engine import WorkerEngine

from ..serving import until
from .workers import MakeWorker, scripted, text_of, worker_processes


async def test_draining_lets_requests_finish(worker: MakeWorker) -> None:
    engine = await worker(word_seconds=0.02)
    running = asyncio.create_task(text_of(engine, "a", 10))
    await until(lambda: engine._live == 1)
    drain = asyncio.create_task(engine.drain(10.0))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await text_of(engine)
    assert caught.value.reason == "DRAINING" and not engine.healthy
    await drain
    assert running.done() or (await running)
    assert running.result() == " ".join("a" * 10)


async def test_what_has_no_place_in_the_worker_is_refused_before_it() -> None:
    config = EngineConfig(max_running_requests=2, max_waiting_requests=1)
    engine = scripted(config=config)
    await engine.start()
    try:
        stuck = [asyncio.create_task(text_of(engine, "stuck")) for _ in range(3)]
        await until(lambda: engine._live == 3)
        for _ in range(2):
            with pytest.raises(ResourceExhausted) as caught:
                await text_of(engine)
            assert caught.value.reason == "QUEUE_FULL" and caught.value.retry_after
        assert engine.stats.rejected == 2 and engine._live == 3
        assert await engine.detokenize([1]) == "t1"  # has no place to wait for
        stuck.pop().cancel()
        await until(lambda: engine._live == 2)
        assert await text_of(engine, "live", 1) == "2"
        # Requests that fail give their places back, too.
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        for _ in range(5):
            with pytest.raises(EngineError):
                await text_of(engine, "raise 0")
        assert await text_of(engine, "live", 1) == "0"
    finally:
        await engine.close()


async def test_the_front_goes_first(worker: MakeWorker) -> None:
    engine = await worker()
    assert psutil.Process(engine.pid).nice() > psutil.Process().nice()


async def test_closing_ends_requests_and_the_process(worker: MakeWorker) -> None:
    engine = await worker(word_seconds=0.01)
    process = psutil.Process(engine.pid)
    running = asyncio.create_task(text_of(engine, max_tokens=4000))
    await until(lambda: engine.stats.running > 0, 10)
    await engine.close()
    assert not psutil.pid_exists(process.pid) and not engine.healthy
    with pytest.raises(Cancelled):
        await running
    with pytest.raises(Unavailable):
        await text_of(engine)
    await engine.close()


async def test_before_the_start_nothing_is_there() -> None:
    engine = scripted()
    assert engine.pid is None and not engine.healthy and engine.stats.running == 0
    with pytest.raises(Unavailable):
        await text_of(engine)
    with pytest.raises(Unavailable):
        assert engine.info
    await engine.close()


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_a_load_can_be_abandoned(how: str) -> None:
    engine = scripted(load_seconds=60)
    loading = asyncio.create_task(engine.start())
    await until(lambda: bool(worker_processes()), 10)
    if how == "cancel":
        loading.cancel()
    else:
        await engine.close()
    with pytest.raises((asyncio.CancelledError, Cancelled)):
        await loading
    assert not worker_processes()
    await engine.close()


async def test_a_load_error_is_told_at_once_and_may_be_tried_again() -> None:
    engine = scripted(load_error="no such weights")  # not an EngineError: a fault of the loader
    with pytest.raises(InternalError):
        await engine.start()
    with pytest.raises(InternalError):
        await engine.start()
    assert not worker_processes()
    await engine.close()


async def test_logs_progress_and_prints_reach_the_front(
    worker: MakeWorker, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "mlxforge")
    steps: list[Progress] = []
    engine = scripted(model_id="m", progress=steps.append)
    await engine.start()
    await until(lambda: "not for the server's own output" in caplog.text)
    record = next(r for r in caplog.records if r.name == "mlxforge.engine.fake")
    assert record.getMessage() == "[m] loading, in the worker"
    assert record.levelno == logging.WARNING
    assert steps == [Progress("weights", 10, 10)]
    assert capfd.readouterr().out == ""
    await engine.close()


def open_files(engine: WorkerEngine) -> list[str]:
    """What the descriptors of an engine's process are, by number."""
    assert engine.pid is not None
    folder = f"/proc/{engine.pid}/fd"
    return [os.readlink(f"{folder}/{fd}") for fd in sorted(os.listdir(folder), key=int)]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
async def test_no_descriptor_reaches_the_worker_but_its_own(worker: MakeWorker) -> None:
    secret = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(secret, False)
    try:
        engine = await worker()
        other = await worker()
        sockets = [
            [link for link in open_files(process) if link.startswith("socket:")]
            for process in (engine, other)
        ]
        assert "/dev/null" not in open_files(engine)[1:]
        # Its own end, and the two ends of asyncio's pair: nothing of the other worker's.
        assert [len(found) for found in sockets] == [3, 3]
        assert not set(sockets[0]) & set(sockets[1])
    finally:
        os.close(secret)


async def test_a_missing_program_is_a_load_error() -> None:
    engine = WorkerEngine("a", command=("/no/such/program",))
    with pytest.raises(LoadError, match="no/such/program"):
        await engine.start()
    await engine.close()
