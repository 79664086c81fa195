"""What the cases run against: servers, libraries, and each language's runner."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = Path(os.environ.get("MLXFORGE_BUILD", ROOT / "build" / "capi"))
LIBRARY = "libmlxforge.dylib" if sys.platform == "darwin" else "libmlxforge.so"
TESTING_LIBRARY = LIBRARY.replace("mlxforge", "mlxforge_testing")
READY_SECONDS = 120.0
DEFAULT_MODELS = ("smollm2-135m-instruct", "all-minilm-l6-v2")
"""What the cases of the default engine were written for; they come as Python packages."""


GUARDED = "guarded"
"""The scripted engines behind tokens, of which the runners have none: over gRPC only."""


class Missing(Exception):
    """Something to run with is not here; the message says what, and how to get it."""


@dataclass(frozen=True)
class Language:
    """A language with a runner. ``build`` makes it; raises ``Missing``."""

    name: str
    doors: tuple[str, ...]
    build: Callable[[str], list[str]]
    """The runner's command, for an engine (the C runner links the engine's library)."""


def _python(engine: str) -> list[str]:
    return [sys.executable, str(HERE / "runners" / "python_runner.py")]


def _c(engine: str) -> list[str]:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise Missing("no C compiler")
    shared = library(engine)
    folder = ROOT / "build" / "conformance"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"c_runner_{engine}"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", f"-I{ROOT / 'capi' / 'include'}"]
    source = str(HERE / "runners" / "c_runner.c")
    link = [str(shared), f"-Wl,-rpath,{shared.parent}", "-lpthread"]
    _made([compiler, *flags, source, *link, "-o", str(program)], ROOT)
    return [str(program)]


def _node(engine: str) -> list[str]:
    folder = ROOT / "stubs" / "node"
    if shutil.which("node") is None:
        raise Missing("no node on PATH")
    if not (folder / "dist" / "index.js").exists():
        raise Missing("stubs/node is not built: make node")
    return ["node", str(folder / "conformance" / "runner.js")]


def _rust(engine: str) -> list[str]:
    if shutil.which("cargo") is None:
        raise Missing("no cargo on PATH")
    folder = ROOT / "stubs" / "rust"
    _made(["cargo", "build", "--quiet", "--locked", "-p", "mlxforge-conformance"], folder)
    target = Path(os.environ.get("CARGO_TARGET_DIR", folder / "target"))
    return [str(target / "debug" / "mlxforge-conformance")]


def swift_program(path: str, folder: Path, how: str = "make swift") -> list[str]:
    """The command of an executable of stubs/swift, built, with ``folder``'s libmlxforge."""
    toolchain = str(ROOT / "stubs" / "swift" / "toolchain.sh")
    ready = subprocess.run([toolchain, "version"], capture_output=True, text=True)
    program = ROOT / "build" / path
    if ready.returncode:
        raise Missing(ready.stderr.strip())
    if not program.exists():
        raise Missing(f"{program.name} is not built: {how}")
    return [toolchain, "run", str(folder), str(program)]


def _swift(engine: str) -> list[str]:
    # The program is linked to a libmlxforge by name: the folder decides which it meets.
    folder = ROOT / "build" / "conformance" / f"swift_{engine}"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / LIBRARY
    link.unlink(missing_ok=True)
    link.symlink_to(library(engine))
    return swift_program("swift/debug/mlxforge-conformance", folder)


def _swift_grpc(engine: str) -> list[str]:
    program = "swift-grpc/debug/mlxforge-conformance-grpc"
    command = swift_program(program, ROOT, "stubs/swift/grpc/test.sh, with GitHub at hand")
    return ["env", "MLXFORGE_SWIFT_SUITE=sid", *command]


LANGUAGES = (
    Language("python", ("grpc", "embedded"), _python),
    Language("c", ("embedded",), _c),
    Language("node", ("grpc", "embedded"), _node),
    Language("rust", ("grpc", "embedded"), _rust),
    Language("swift", ("embedded",), _swift),
    Language("swift", ("grpc",), _swift_grpc),
)


def library(engine: str) -> Path:
    """libmlxforge, or the tests' build of it, for which other Python code can be named."""
    named = os.environ.get("MLXFORGE_LIBRARY")
    if engine == "scripted":
        places = [BUILD / TESTING_LIBRARY]
    elif named:
        places = [Path(named)]
    else:
        spec = importlib.util.find_spec("mlxforge")
        packages = spec.submodule_search_locations or () if spec else ()
        places = [Path(package) / "lib" / LIBRARY for package in packages] + [BUILD / LIBRARY]
    for place in places:
        if place.exists():
            return place
    raise Missing(f"no {places[-1].name}: make capi")


def embedded_environment(engine: str) -> dict[str, str]:
    """Variables of a runner that hosts the engine itself."""
    variables = {"MLXFORGE_LIBRARY": str(library(engine)), "MLXFORGE_PYTHON": sys.executable}
    if engine == "scripted":
        variables["MLXFORGE_EMBEDDED_MODULE"] = str(HERE / "scripted_engine")
    return variables


@asynccontextmanager
async def server(engine: str) -> AsyncIterator[str]:
    """The address of a server that serves while the context lasts."""
    address = f"127.0.0.1:{_free_port()}"
    if engine != "default":
        command = [sys.executable, str(HERE / "scripted_engine.py"), address]
        command += ["--guarded"] if engine == GUARDED else []
    else:
        command = [
            *_mlxforge(),
            "serve",
            *DEFAULT_MODELS,
            "--address",
            address,
            "--log-level",
            "error",
        ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        await _serving(address, process)
        yield address
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _mlxforge() -> list[str]:
    named = os.environ.get("MLXFORGE_BIN")
    if named:
        return [named]
    beside = Path(sys.executable).with_name("mlxforge")
    if beside.exists():
        return [str(beside)]
    raise Missing("no mlxforge command beside this Python: set MLXFORGE_BIN or run make setup")


async def _serving(address: str, process: asyncio.subprocess.Process) -> None:
    """Wait until the server's health says SERVING."""
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    async with grpc.aio.insecure_channel(address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # its stubs leave the methods out
        while asyncio.get_running_loop().time() < deadline:
            if process.returncode is not None:
                raise RuntimeError(f"the server ended with {process.returncode}")
            try:
                answer = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.aio.AioRpcError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the server is not ready after {READY_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _made(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
