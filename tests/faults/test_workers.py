"""Faults of the processes that hold the models: 1, 2, 4, 5, 7, 8, 15, 28, and what others notice.

One server with two models for most: its front process lives through all that is done to its
workers. Times are asserted loosely here, where other tests run beside; ``make soak`` measures.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import pytest_asyncio

from mlxforge.v1 import model_pb2

from ..service.serving import details_of, status_of_rpc
from .live import (
    CODE,
    SMALL,
    Live,
    Outcome,
    Stubs,
    alive,
    connected,
    descendants,
    event,
    healthy,
    model_folder,
    request,
    serving,
    stream,
    until,
    worker_of,
)
from .shim import preloaded

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

LONG = 700
SETTINGS = (*SMALL, "worker.hang_seconds=2")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with model_folder() as folder:
        yield folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(folder: Path) -> AsyncIterator[Live]:
    async with serving([f"one={folder}", f"two={folder}"], *SETTINGS) as server:
        yield server


@asynccontextmanager
async def undisturbed(server: Live, client: Stubs) -> AsyncIterator[int]:
    """Streams of model two go on, token for token, and the front is the same process.

    Yields the process id of model one's worker, which the body may ill-treat.
    """
    alone = await stream(client, request(tokens=LONG, model="two"))
    assert alone.whole
    front, worker = server.pid, worker_of(server.pid, "two")
    neighbours = [
        asyncio.create_task(stream(client, request(tokens=LONG, model="two"))) for _ in range(3)
    ]
    try:
        yield worker_of(server.pid, "one")
    except BaseException:
        for neighbour in neighbours:
            neighbour.cancel()
        raise
    for outcome in await asyncio.gather(*neighbours):
        assert outcome.whole and outcome.tokens == alone.tokens, outcome.details
    assert server.process.returncode is None and server.pid == front
    assert worker_of(server.pid, "two") == worker


async def begun(client: Stubs, count: int = 4) -> list[asyncio.Task[Outcome]]:
    """Streams of model one whose first token is there. It serves, or is about to."""
    await back(client)
    firsts = [asyncio.Event() for _ in range(count)]
    streams = [
        asyncio.create_task(stream(client, request(tokens=LONG, model="one"), first))
        for first in firsts
    ]
    started = asyncio.gather(*(first.wait() for first in firsts))
    either: list[asyncio.Future[Any]] = [started, *streams]
    await asyncio.wait(either, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    if not started.done():
        started.cancel()
        pytest.fail(f"no token: {[task.result() for task in streams if task.done()]}")
    return streams


def check_lost(outcome: Outcome) -> None:
    """What a stream's reader is told when its worker dies."""
    assert outcome.code is CODE.UNAVAILABLE, outcome.details
    assert isinstance(outcome.error, grpc.aio.AioRpcError)
    details = details_of(status_of_rpc(outcome.error))
    assert details["ErrorInfo"].reason.startswith("WORKER_")
    assert details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0
    assert 0 < len(outcome.tokens) < LONG and not outcome.finished


async def back(client: Stubs, seconds: float = 60) -> float:
    """Wait until model one serves again; the seconds it took."""
    started = time.monotonic()
    while not await healthy(client, "model/one"):
        assert time.monotonic() - started < seconds, "the model did not come back"
        await asyncio.sleep(0.02)
    took = time.monotonic() - started
    assert (await stream(client, request(model="one"))).whole
    return took


async def test_row_1_2_a_worker_that_dies(server: Live) -> None:
    """Ended by ``abort()``, as native code ends: streams end, told why, at once."""
    async with connected(server.address) as client, undisturbed(server, client) as worker:
        assert await healthy(client, "model/one")
        streams = await begun(client)
        os.kill(worker, signal.SIGABRT)
        killed = time.monotonic()
        outcomes = await asyncio.wait_for(asyncio.gather(*streams), 20)
        assert time.monotonic() - killed < 5
        for outcome in outcomes:
            check_lost(outcome)
        assert not await healthy(client, "model/one")
        refused = await stream(client, request(model="one"))
        assert refused.code is CODE.UNAVAILABLE and not refused.tokens
        # Said to be lost when it begins to end: the kernel may take its memory back for longer.
        await until(lambda: not alive(worker), 10, "the end of the worker")
        await back(client)
        assert worker_of(server.pid, "one") != worker
    assert "Fatal Python error: Aborted" in server.logged()
    assert server.deaths("one") == ["killed by SIGABRT"]


async def test_row_5_a_worker_that_hangs(server: Live) -> None:
    """SIGSTOP: NOT_SERVING within 2 s, then killed and started again."""
    async with connected(server.address) as client, undisturbed(server, client) as worker:
        streams = await begun(client, 2)
        os.kill(worker, signal.SIGSTOP)
        stopped = time.monotonic()
        while await healthy(client, "model/one"):
            assert time.monotonic() - stopped < 10, "still SERVING"
            await asyncio.sleep(0.02)
        for outcome in await asyncio.wait_for(asyncio.gather(*streams), 20):
            check_lost(outcome)
        await back(client)
        assert not alive(worker)


async def test_row_28_a_suspended_machine(server: Live) -> None:
    """Everything stands still for longer than a hang takes to be told: nobody is killed."""
    async with connected(server.address) as client:
        [running] = await begun(client, 1)
        before = descendants(server.pid)
        everyone = [server.pid, *before]
        for pid in everyone:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(3.5)
        for pid in reversed(everyone):
            os.kill(pid, signal.SIGCONT)
        outcome = await asyncio.wait_for(running, 60)
        assert outcome.whole, outcome.details
        workers = {worker_of(server.pid, name) for name in ("one", "two")}
        assert workers <= set(before)


async def test_row_4_no_memory_left_for_a_step(server: Live) -> None:
    """The kernel gives the worker no more: requests are told, or, where MLX crashes of it (its
    CPU backend does not look at what malloc returns), their worker starts again."""
    import resource

    async with connected(server.address) as client, undisturbed(server, client) as worker:
        assert (await stream(client, request(model="one"))).whole
        size = psutil.Process(worker).memory_info().vms
        limits = resource.prlimit(worker, resource.RLIMIT_AS)
        resource.prlimit(worker, resource.RLIMIT_AS, (size + (1 << 20), limits[1]))
        outcomes = await asyncio.gather(
            *(stream(client, request("x" * 1400, tokens=500, model="one")) for _ in range(8))
        )
        allowed = (CODE.OK, CODE.RESOURCE_EXHAUSTED, CODE.UNAVAILABLE)
        assert all(outcome.code in allowed for outcome in outcomes), outcomes
        if alive(worker):
            resource.prlimit(worker, resource.RLIMIT_AS, limits)
        await back(client)


async def test_row_15_a_reader_that_stops(server: Live) -> None:
    """Its stream is ended; the streams beside it, of the same model, are as alone."""
    async with connected(server.address) as client, undisturbed(server, client):
        alone = await stream(client, request(tokens=400, model="one"))
        window = (("grpc.http2.lookahead_bytes", 4096), ("grpc.http2.bdp_probe", 0))
        async with connected(server.address, *window) as lazy:
            asked = request(tokens=LONG, n=8, logprobs=20, model="one")
            calls = [lazy.generation.StreamGenerate(asked) for _ in range(3)]
            for call in calls:
                await call.read()  # and never again
            beside = await asyncio.gather(
                *(stream(client, request(tokens=400, model="one")) for _ in range(4))
            )
            assert all(outcome.tokens == alone.tokens for outcome in beside)
            rss = psutil.Process(server.pid).memory_info().rss
            assert rss < 1 << 30
            for call in calls:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    while await call.read():
                        pass
                details = details_of(status_of_rpc(caught.value))
                assert details["ErrorInfo"].reason == "SLOW_READER"


async def test_row_7_a_killed_front_leaves_no_worker(folder: Path) -> None:
    """SIGKILL: its workers end within a second."""
    async with serving([f"one={folder}"], *SMALL, "engine.warm_up=false") as server:
        async with connected(server.address) as client:
            running = asyncio.create_task(stream(client, request(tokens=LONG, model="one")))
            await asyncio.sleep(0.2)
            left = descendants(server.pid)
            assert left
            server.process.kill()
            await server.process.wait()
            assert (await running).code is CODE.UNAVAILABLE
        await until(lambda: not any(alive(pid) for pid in left), 3.0, "the end of the workers")


async def test_row_8_a_model_whose_load_kills(folder: Path, tmp_path: Path) -> None:
    """Tried a few times, with pauses, then FAILED; the other model serves all the while."""
    unlucky = tmp_path / "unlucky"
    shutil.copytree(folder, unlucky)
    environment = preloaded(tmp_path, abort="unlucky/model.safetensors")
    async with (
        serving(
            [f"two={folder}", unlucky],
            *SMALL,
            "worker.load_attempts=2",
            wait=False,
            environment=environment,
        ) as server,
        connected(server.address) as client,
    ):
        while (said := await event(server, "loaded"))["model"] != "two":
            pass
        assert said["state"] == "ready"
        served = 0
        ready = asyncio.create_task(event(server, "ready"))
        while not ready.done():
            assert (await stream(client, request(tokens=8, model="two"))).whole
            served += 1
        assert served > 0 and (await ready)["models"] == ["two"]
        listed = await client.models.ListModels(model_pb2.ListModelsRequest())
        states = {model.id: model for model in listed.models}
        assert states["unlucky"].state == model_pb2.MODEL_STATE_FAILED
        assert "died" in states["unlucky"].error
        assert server.logged().count("killed by SIGABRT") >= 2
