"""Workers behind the gRPC server: health, other models, and no MLX in the front."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mlxforge.engine.errors import EngineError
from mlxforge.service.api import Api
from mlxforge.service.config import Settings
from mlxforge.service.registry import ModelState, Registry
from mlxforge.service.server import Server
from mlxforge.service.worker.config import WorkerConfig
from mlxforge.service.worker.engine import WorkerEngine
from mlxforge.v1 import generation_pb2, generation_pb2_grpc, model_pb2, model_pb2_grpc

from ..serving import details_of, status_of_rpc, until
from .workers import scripted, worker_processes

Request = generation_pb2.GenerateRequest
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
GENERATION = "mlxforge.v1.GenerationService"
BACK = 20.0


class Service:
    """A server whose models a and b live in workers."""

    def __init__(self, registry: Registry, channel: grpc.aio.Channel) -> None:
        self.registry = registry
        self.generation: Any = generation_pb2_grpc.GenerationServiceStub(channel)
        self.models: Any = model_pb2_grpc.ModelServiceStub(channel)
        self.health: Any = health_pb2_grpc.HealthStub(channel)

    def engine(self, model_id: str) -> WorkerEngine:
        client = self.registry.get(model_id).client
        assert isinstance(client, WorkerEngine)
        return client

    def kill(self, model_id: str) -> None:
        pid = self.engine(model_id).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    async def watch(self, service: str = "") -> tuple[list[int], asyncio.Task[None]]:
        """The states of a service as they come."""
        states: list[int] = []

        async def read() -> None:
            call = self.health.Watch(health_pb2.HealthCheckRequest(service=service))
            async for answer in call:
                states.append(answer.status)

        task = asyncio.create_task(read())
        await until(lambda: bool(states))
        return states, task


@asynccontextmanager
async def serving(*model_ids: str, **how: Any) -> AsyncIterator[Service]:
    """A server with one worker for each model."""

    def changed(model_id: str, failure: EngineError | None) -> None:
        registry.engine_changed(model_id, failure)

    def make(model_id: str, source: str, **_: Any) -> WorkerEngine:
        settings = WorkerConfig(load_attempts=1, max_restart_delay=0.5)
        return scripted(settings, model_id=model_id, changed=partial(changed, model_id), **how)

    registry = Registry(make)
    server = Server(Api(registry), Settings(address=("127.0.0.1:0",)))
    await server.start()
    try:
        for model_id in model_ids:
            registry.add(model_id, source=model_id)
            await registry.load(model_id)
        async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
            yield Service(registry, channel)
    finally:
        await server.stop()
        await registry.close()


async def test_a_death_is_told_and_healed_without_the_others_noticing() -> None:
    async with serving("a", "b", word_seconds=0.01) as service:
        states, watching = await service.watch()
        dying = service.generation.StreamGenerate(Request(model="a", prompt="x", max_tokens=4000))
        await dying.read()
        other = asyncio.ensure_future(
            service.generation.Generate(Request(model="b", prompt="y", max_tokens=100))
        )
        service.kill("a")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while await dying.read():
                pass
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        details = details_of(status_of_rpc(caught.value))
        assert details["ErrorInfo"].reason == "WORKER_DIED" and "RetryInfo" in details
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.generation.Generate(Request(model="a", prompt="x"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert (await other).choices[0].text == " ".join(["y"] * 100)
        await until(lambda: service.engine("a").healthy, BACK)
        answer = await service.generation.Generate(Request(model="a", prompt="x", max_tokens=2))
        assert answer.choices[0].text == "x x"
        assert states == [SERVING], "another model answered all the time"
        watching.cancel()


async def test_health_follows_the_only_worker(tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    deaths.write_text("0")
    async with serving("a", deaths=str(deaths)) as service:
        states, watching = await service.watch(GENERATION)
        service.kill("a")
        await until(lambda: states == [SERVING, NOT_SERVING])
        await until(lambda: states == [SERVING, NOT_SERVING, SERVING], BACK)
        deaths.write_text("1")
        service.kill("a")
        entry = service.registry.get("a")
        await until(lambda: entry.state is ModelState.FAILED, BACK)
        model = (await service.models.GetModel(model_pb2.GetModelRequest(model="a"))).model
        assert model.state == model_pb2.MODEL_STATE_FAILED and "exit code 7" in model.error
        await until(lambda: states[3:] == [NOT_SERVING, SERVING], BACK)
        assert entry.state is ModelState.READY and not entry.error
        watching.cancel()


async def test_a_failed_model_can_be_loaded_by_a_caller(tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    deaths.write_text("0")
    async with serving("a", deaths=str(deaths)) as service:
        deaths.write_text("99999")
        service.kill("a")
        entry, failed = service.registry.get("a"), service.engine("a")
        await until(lambda: entry.state is ModelState.FAILED, BACK)
        deaths.write_text("0")
        call = service.models.LoadModel(model_pb2.LoadModelRequest(model="a"))
        assert [step.stage async for step in call][-1] == model_pb2.LoadModelResponse.STAGE_READY
        assert service.engine("a") is not failed and service.engine("a").healthy
        assert len(worker_processes()) == 1


def _maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux's /proc")
def test_the_front_never_loads_mlx() -> None:
    command = [sys.executable, "-m", "mlxforge.service.cli", "serve", "smollm2-135m-instruct"]
    command += ["--address", "127.0.0.1:0", "--log-level", "warning", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        _check_processes(server)
    finally:
        server.kill()
        server.communicate()


def _check_processes(server: subprocess.Popen[bytes]) -> None:
    address = ""
    while not address:
        assert server.stdout is not None
        event = json.loads(server.stdout.readline())
        if event["event"] == "ready":
            [address] = event["addresses"]
    with grpc.insecure_channel(address) as channel:
        stub: Any = generation_pb2_grpc.GenerationServiceStub(channel)
        assert stub.Generate(Request(prompt="The capital of France is", max_tokens=4)).choices
    front = psutil.Process(server.pid)
    [worker] = [p for p in front.children() if "mlxforge.service.worker" in p.cmdline()]
    for library in ("libmlx", "scipy_openblas32"):
        assert library in _maps(worker.pid), "the check can fail"
        assert library not in _maps(front.pid)
    below = front.children(recursive=True)
    server.terminate()
    assert server.wait(30) == 0
    _, alive = psutil.wait_procs(below, 5)
    assert not alive
