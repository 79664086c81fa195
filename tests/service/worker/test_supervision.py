"""Workers that die, hang, talk garbage or do not load; and a front that dies.

Bounds are loose, for busy machines; docs/reliability.md has what was measured.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlxforge.engine.errors import EngineError, LoadError, Unavailable
from mlxforge.service.worker.backoff import Backoff
from mlxforge.service.worker.config import WorkerConfig
from mlxforge.service.worker.engine import WorkerEngine
from mlxforge.service.worker.messages import Text

from ..serving import until
from .workers import MakeWorker, request, scripted, text_of, worker_processes

SOON = 2.0
BACK = 20.0


async def first_output(engine: WorkerEngine, **fields: Any) -> tuple[Any, asyncio.Task[str]]:
    """A long stream that has begun, as the task that reads its rest."""
    outputs = engine.generate(request(max_tokens=4000, **fields))
    await anext(outputs)

    async def rest() -> str:
        return "".join([output.text async for output in outputs])

    return outputs, asyncio.create_task(rest())


async def ends_unavailable(task: asyncio.Task[str], reason: str, seconds: float = SOON) -> None:
    """The stream ends soon, with the reason and a time to retry after."""
    with pytest.raises(Unavailable) as caught:
        async with asyncio.timeout(seconds):
            await task
    assert caught.value.reason == reason and caught.value.retry_after > 0


async def serves_again(engine: WorkerEngine) -> None:
    """The engine comes back, by itself."""
    await until(lambda: engine.healthy, BACK)
    assert await text_of(engine, "back again", 2) == "back again"


async def test_a_killed_worker_ends_its_streams_and_no_others(worker: MakeWorker) -> None:
    changes: list[bool] = []
    engine = await worker(changed=lambda failure: changes.append(failure is None))
    other = await worker(word_seconds=0.02)
    streams = [(await first_output(engine))[1] for _ in range(8)]
    neighbour = asyncio.create_task(text_of(other, "n", 100))
    killed = engine.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    for stream in streams:
        await ends_unavailable(stream, "WORKER_DIED")
    assert not engine.healthy and len(changes) > 1 and engine.info.id == "fake"
    with pytest.raises(Unavailable) as caught:
        await text_of(engine)
    assert caught.value.reason == "WORKER_RESTARTING"
    await serves_again(engine)
    assert engine.stats.restarts == 1 and engine.pid != killed
    assert await neighbour == " ".join(["n"] * 100) and other.stats.restarts == 0


async def test_an_abort_in_native_code_is_logged(
    worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await worker()
    await ends_unavailable(asyncio.create_task(text_of(engine, "abort")), "WORKER_DIED")
    await serves_again(engine)
    assert "killed by SIGABRT" in caplog.text
    assert "Fatal Python error: Aborted" in caplog.text and "in run" in caplog.text


async def test_a_stopped_worker_is_replaced(worker: MakeWorker) -> None:
    engine = await worker(WorkerConfig(silent_seconds=0.75, hang_seconds=2.0))
    _, stream = await first_output(engine)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    started = time.monotonic()
    await until(lambda: not engine.healthy, SOON)
    assert not stream.done(), "it may come back"
    await ends_unavailable(stream, "WORKER_HUNG", 5.0)
    assert time.monotonic() - started > 1.5
    await serves_again(engine)


async def test_a_worker_that_was_slow_keeps_its_streams(worker: MakeWorker) -> None:
    engine = await worker(WorkerConfig(silent_seconds=0.75, hang_seconds=60.0))
    stream = asyncio.create_task(text_of(engine, "a", 200))
    await until(lambda: engine.stats.running > 0, SOON)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    await until(lambda: not engine.healthy, SOON)
    os.kill(engine.pid, signal.SIGCONT)
    await until(lambda: engine.healthy, SOON)
    assert await stream == " ".join(["a"] * 200) and engine.stats.restarts == 0


@pytest.mark.parametrize("prompt", ["unhealthy", "stuck"])
async def test_an_engine_that_does_not_step_is_replaced(prompt: str, worker: MakeWorker) -> None:
    engine = await worker(WorkerConfig(step_seconds=0.5))
    stream = asyncio.create_task(text_of(engine, prompt, 4000))
    await ends_unavailable(stream, "WORKER_HUNG", 10.0)
    await serves_again(engine)


async def test_a_model_that_kills_its_worker_fails_to_load(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deaths = tmp_path / "deaths"
    deaths.write_text("2")
    engine = scripted(WorkerConfig(load_attempts=2), deaths=str(deaths))
    with pytest.raises(LoadError, match="exit code 7") as caught:
        await engine.start()
    assert caught.value.reason == "WORKER_DIED"
    assert "no such weights" in caplog.text
    await engine.start()
    await serves_again(engine)
    await engine.close()


async def test_a_model_that_no_longer_loads_is_tried_on(tmp_path: Path, worker: MakeWorker) -> None:
    deaths, failures = tmp_path / "deaths", list[EngineError | None]()
    deaths.write_text("0")
    settings = WorkerConfig(load_attempts=2, max_restart_delay=0.3)
    engine = await worker(settings, deaths=str(deaths), changed=failures.append)
    deaths.write_text("3")
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    await until(lambda: engine.failure is not None, BACK)
    with pytest.raises(Unavailable) as caught:
        await text_of(engine)
    assert caught.value.reason == "MODEL_FAILED" and "exit code 7" in caught.value.message
    told = failures[-1]
    assert isinstance(told, LoadError)
    await serves_again(engine)
    assert engine.failure is None and failures[-1] is None and engine.stats.restarts == 4


async def test_a_worker_that_is_sent_garbage_is_replaced(
    worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await worker()
    _, stream = await first_output(engine)
    session = engine._session
    assert session is not None and session._link is not None
    session._link.send(Text(1, "no message for a worker"))
    await ends_unavailable(stream, "WORKER_DIED")
    await serves_again(engine)
    assert "exit code 1" in caplog.text and "the front sent garbage" in caplog.text


async def test_a_worker_that_sends_garbage_is_replaced(
    worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    engine = await worker()
    stream = asyncio.create_task(text_of(engine, "garbage", 4000))
    await ends_unavailable(stream, "WORKER_DIED")
    await serves_again(engine)
    assert "it sent garbage" in caplog.text


async def test_while_draining_the_dead_are_let_lie(worker: MakeWorker) -> None:
    engine = await worker()
    _, stream = await first_output(engine)
    drain = asyncio.create_task(engine.drain(10.0))
    assert engine.pid is not None
    await asyncio.sleep(0.05)
    os.kill(engine.pid, signal.SIGKILL)
    await ends_unavailable(stream, "WORKER_DIED")
    await drain
    await asyncio.sleep(0.3)
    assert not worker_processes() and engine.stats.restarts == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
async def test_a_worker_ends_with_its_front(number: signal.Signals) -> None:
    front = await asyncio.create_subprocess_exec(
        sys.executable, Path(__file__).with_name("front.py"), stdout=asyncio.subprocess.PIPE
    )
    assert front.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in (await front.stdout.readline()).split()]
    assert len(workers) == 2 and all(worker.is_running() for worker in workers)
    workers[0].suspend()  # one that cannot notice by itself
    front.send_signal(number)
    await front.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, workers, SOON)
    for process in alive:
        process.kill()
    assert not alive


async def test_signals_for_the_group_leave_workers_alone(worker: MakeWorker) -> None:
    engine = await worker()
    assert engine.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(engine.pid, number)
    assert await text_of(engine, "here", 1) == "here"


def test_pauses_double_up_to_a_bound_and_differ() -> None:
    backoff = Backoff(5.0)
    pauses = [backoff.next() for _ in range(40)]
    assert 0.05 <= pauses[0] <= 0.1 and 0.1 <= pauses[1] <= 0.2
    assert all(2.5 <= pause <= 5.0 for pause in pauses[6:])
    assert len({round(pause, 9) for pause in pauses[6:]}) > 20
    backoff.reset()
    assert backoff.next() <= 0.1
