"""Real servers in processes of their own, on tiny models, and what can be seen of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mlxforge.v1 import (
    generation_pb2,
    generation_pb2_grpc,
    model_pb2_grpc,
    tokenizer_pb2_grpc,
)

from ..engine.loader.folders import write_folder

START_SECONDS = 200.0
SERVING = health_pb2.HealthCheckResponse.SERVING
CODE = grpc.StatusCode
Request = generation_pb2.GenerateRequest

# The width of a decode step, and so its arithmetic, is the same whoever else is there.
SMALL = ("engine.max_running_requests=8", "engine.prefix_block=8", "engine.max_prefill_tokens=64")


@contextmanager
def model_folder(positions: int = 2048) -> Iterator[Path]:
    """A tiny Llama of random weights with a byte tokenizer, in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="mlxforge-tiny-") as parent:
        folder = Path(parent) / "tiny"
        write_folder(folder, max_position_embeddings=positions)
        yield folder


def request(prompt: str = "Once upon a time", tokens: int = 32, **fields: Any) -> Request:
    """A greedy request whose answer has exactly ``tokens`` tokens."""
    fields = {"max_tokens": tokens, "ignore_eos": True, **fields}
    return Request(prompt=prompt, sampling_params={"temperature": 0.0}, **fields)


@dataclass
class Live:
    """A server process."""

    process: asyncio.subprocess.Process
    address: str
    log: Path
    ready: dict[str, Any]

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def children(self) -> list[int]:
        """Its descendants: workers and helpers."""
        return descendants(self.pid)

    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    def deaths(self, model: str) -> list[str]:
        """How the model's workers died that were not told to, as the log has it."""
        return re.findall(rf"\[{model}\] worker \d+ died: (.*)", self.logged())


@asynccontextmanager
async def serving(
    models: Sequence[str | Path],
    *settings: str,
    flags: Sequence[str] = (),
    wait: bool = True,
    address: str = "127.0.0.1:0",
    module: str = "mlxforge.service.cli",
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Live]:
    """``mlxforge serve`` with the models and ``--set`` settings, until it is ready."""
    sets = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", module, "serve", "--json", *map(str, models)]
    with tempfile.NamedTemporaryFile(prefix="mlxforge-log-", suffix=".txt") as log:
        process = await asyncio.create_subprocess_exec(
            *command, "--address", address, *sets, *flags,
            stdout=asyncio.subprocess.PIPE, stderr=log,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **(environment or {})},
        )  # fmt: skip
        live = Live(process, "", Path(log.name), {})
        try:
            live.address = (await event(live, "listening"))["addresses"][0]
            if wait:
                live.ready = await event(live, "ready")
            yield live
        finally:
            left = live.children()
            if process.returncode is None:
                process.kill()
            await process.communicate()
            for pid in left:
                _kill(pid)


async def event(live: Live, name: str) -> dict[str, Any]:
    """The server's next line of that name; ``AssertionError`` when it ends before."""
    assert live.process.stdout is not None
    async with asyncio.timeout(START_SECONDS):
        while line := await live.process.stdout.readline():
            said: dict[str, Any] = json.loads(line)
            if said["event"] == name:
                return said
    raise AssertionError(f"the server ended before it said {name}:\n{live.logged()[-3000:]}")


async def exit_code(live: Live, seconds: float) -> int:
    async with asyncio.timeout(seconds):
        return await live.process.wait()


class Stubs:
    """Stubs on one connection."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.generation: Any = generation_pb2_grpc.GenerationServiceStub(channel)
        self.tokenizer: Any = tokenizer_pb2_grpc.TokenizerServiceStub(channel)
        self.models: Any = model_pb2_grpc.ModelServiceStub(channel)
        self.health: Any = health_pb2_grpc.HealthStub(channel)


@asynccontextmanager
async def connected(address: str, *options: tuple[str, Any]) -> AsyncIterator[Stubs]:
    # A connection of its own: channels to one address share theirs otherwise.
    own = (("grpc.use_local_subchannel_pool", 1), *options)
    async with grpc.aio.insecure_channel(address, options=own) as channel:
        yield Stubs(channel)


@dataclass
class Outcome:
    """How one stream ended."""

    tokens: list[int]
    code: grpc.StatusCode
    details: str = ""
    finished: int = 0
    seconds: float = 0.0
    error: grpc.aio.AioRpcError | None = None

    @property
    def whole(self) -> bool:
        """Finished, once, without an error."""
        return self.code is CODE.OK and self.finished == 1


async def stream(stubs: Stubs, asked: Request, first: asyncio.Event | None = None) -> Outcome:
    """Read a stream to its end, whatever that is. ``first`` is set at the first token."""
    outcome = Outcome([], CODE.OK)
    started = time.monotonic()
    try:
        async for response in stubs.generation.StreamGenerate(asked):
            outcome.tokens += response.delta.token_ids
            outcome.finished += response.HasField("finish")
            if first is not None and outcome.tokens:
                first.set()
    except grpc.aio.AioRpcError as error:
        outcome.code, outcome.details, outcome.error = error.code(), error.details() or "", error
    outcome.seconds = time.monotonic() - started
    return outcome


async def healthy(stubs: Stubs, service: str = "") -> bool:
    """Whether health says SERVING; False when it cannot be asked."""
    try:
        asked = health_pb2.HealthCheckRequest(service=service)
        return bool((await stubs.health.Check(asked, timeout=5)).status == SERVING)
    except grpc.aio.AioRpcError:
        return False


async def until(condition: Callable[[], bool], seconds: float = 10.0, what: str = "it") -> float:
    """Wait for something that must come true; the seconds that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"{what} did not come to pass"
        await asyncio.sleep(0.005)
    return time.monotonic() - started


def descendants(pid: int) -> list[int]:
    """The process ids below one."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def worker_of(front: int, model: str) -> int:
    """The process id of a model's worker; ``LookupError`` while there is none."""
    for child in psutil.Process(front).children():
        try:
            command = child.cmdline()
        except psutil.Error:
            continue
        if "mlxforge.service.worker" in command and command[-1] == model:
            return int(child.pid)
    raise LookupError(f"no worker of {model}")


def alive(pid: int) -> bool:
    """Whether a process runs; zombies do not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Usage:
    """What a process and its descendants hold."""

    rss_bytes: int
    fds: int
    threads: int
    processes: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        rss = fds = threads = count = 0
        for one in (pid, *descendants(pid)):
            try:
                process = psutil.Process(one)
                with process.oneshot():
                    rss += process.memory_info().rss
                    fds += process.num_fds()
                    threads += process.num_threads()
                    count += 1
            except psutil.Error:  # it has just ended
                continue
        return cls(rss, fds, threads, count)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, 9)
