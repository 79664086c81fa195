"""What went wrong in other servers, each as a test of this one.

Only those that no module's own tests cover; ``table.toml`` says where each advisory's test is.
"""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from google.protobuf.internal import api_implementation

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.engine import Engine
from mlxforge.engine.errors import InvalidRequest
from mlxforge.engine.limits import Limits
from mlxforge.engine.request import GenerationRequest
from mlxforge.engine.validation import check_generation
from mlxforge.service.api import CallContext
from mlxforge.service.api.generation_request import request_of
from mlxforge.service.embedded.codec import Codec, decode
from mlxforge.v1 import generation_pb2

from ..service.raw_calls import unary_unary
from ..service.serving import Start, details_of, status_of_rpc
from .live import CODE, Request, model_folder

ROOT = Path(__file__).resolve().parents[2]
OURS = [
    path
    for folder in ("engine", "service", "capi")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "v1" not in path.parts
]
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "multiprocessing"}
SHARED_MEMORY = {"shared_memory", "posix_ipc", "memfd_create", "shm_open"}
UNSAFE_ARGUMENTS = {"trust_remote_code", "allow_pickle", "shell"}


def names_in(tree: ast.AST) -> Iterator[str]:
    """Everything that a module imports, by each part of its dotted name, or calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from alias.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


def arguments_in(tree: ast.AST) -> Iterator[tuple[str, Any]]:
    """Keyword arguments with constant values."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            yield node.arg or "", node.value.value


def unsafe(source: str) -> set[str]:
    """What must not be in our code: pickle, shared memory by name, remote code, assertions."""
    tree = ast.parse(source)
    found = set(names_in(tree)) & (UNSAFE_MODULES | SHARED_MEMORY)
    found |= {name for name, value in arguments_in(tree) if name in UNSAFE_ARGUMENTS and value}
    if any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        found.add("assert")
    return found


def test_cve_2025_32444_cve_2026_115912_cve_2026_27893_cve_2026_41523_source() -> None:
    """Nothing that unpickles, nothing that opens memory by name, no check that ``-O`` drops."""
    found = {str(p.relative_to(ROOT)): unsafe(p.read_text(encoding="utf-8")) for p in OURS}
    assert {path: what for path, what in found.items() if what} == {}
    assert len(OURS) > 100


def test_the_source_check_can_fail() -> None:
    source = "from multiprocessing.shared_memory import X\nassert f(allow_pickle=True)"
    assert unsafe(source) == {"multiprocessing", "shared_memory", "allow_pickle", "assert"}


TOO_MANY = tuple(range(129))


async def test_cve_2026_116173_every_door_has_the_same_validator(start: Start) -> None:
    """129 stop ids where 128 are allowed: over gRPC, over C's door, at the engine's own check."""
    client = await start()
    message = Request(prompt="a", stop_token_ids=TOO_MANY)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generation.Generate(message)
    assert caught.value.code() is CODE.INVALID_ARGUMENT
    [over_grpc] = details_of(status_of_rpc(caught.value))["BadRequest"].field_violations
    decoded = decode(message.SerializeToString(), Request, Codec.PROTOBUF)
    with pytest.raises(InvalidRequest) as embedded:
        request_of(decoded, CallContext(), Limits())
    with pytest.raises(InvalidRequest) as direct:
        check_generation(GenerationRequest("a", prompt="a", stop_token_ids=TOO_MANY))
    assert [v.field for v in embedded.value.violations] == [over_grpc.field] == ["stop_token_ids"]
    assert [v.description for v in direct.value.violations] == [over_grpc.description]
    assert client.engine.started == 0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with model_folder(512) as folder:
        yield folder


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[Engine]:
    engine = Engine(str(folder), EngineConfig(max_running_requests=4, prefix_block=8))
    await engine.start()
    yield engine
    await engine.close()


def asked(name: str, **fields: Any) -> GenerationRequest:
    return GenerationRequest(
        name, prompt="A secret that another tenant may have asked about", max_tokens=2, **fields
    )


async def cached_tokens(engine: Engine, request: GenerationRequest) -> int:
    outputs = [output async for output in engine.generate(request)]
    finish = outputs[-1].finish
    assert finish is not None
    return finish.usage.cached_tokens


async def test_cve_2025_46570_no_prefix_hit_tells_of_another_tenant(
    engine: Engine, folder: Path
) -> None:
    """A hit would show in the time to the first token: salts keep tenants apart, or it is off."""
    assert await cached_tokens(engine, asked("1", cache_salt="one")) == 0
    assert await cached_tokens(engine, asked("2", cache_salt="one")) > 0
    assert await cached_tokens(engine, asked("3", cache_salt="two")) == 0
    assert await cached_tokens(engine, asked("4")) == 0
    off = Engine(str(folder), replace(engine.config, prefix_cache=False))
    await off.start()
    assert await cached_tokens(off, asked("5")) == await cached_tokens(off, asked("6")) == 0
    await off.close()


async def test_cve_2026_105755_request_ids_of_clients_are_no_keys(start: Start) -> None:
    """Eight calls at once that say they are the same request: each gets its own answer."""
    client = await start()

    async def text(word: str) -> str:
        call = client.generation.StreamGenerate(
            Request(prompt=word, max_tokens=20), metadata=(("x-request-id", "the-same"),)
        )
        return "".join([response.delta.text async for response in call])

    words = [f"word{i}" for i in range(8)]
    texts = await asyncio.gather(*map(text, words))
    assert texts == [" ".join([word] * 20) for word in words]
    keys = [request.request_id for request in client.engine.requests]
    assert len(set(keys)) == 8


NESTED_DEPTH = 2_000


async def test_cve_2025_4565_cve_2026_0994_nesting_is_bounded(start: Start) -> None:
    """Parsed by upb, which counts levels; the pure Python parser would run out of stack."""
    assert api_implementation.Type() == "upb"
    value = b""
    for _ in range(NESTED_DEPTH):  # Value.list_value(6) { ListValue.values(1) { Value … } }
        inner = b"\x0a" + _varint(len(value)) + value
        value = b"\x32" + _varint(len(inner)) + inner
    with pytest.raises(Exception, match="pars"):
        struct_pb2.Value.FromString(value)
    entry = b"\x0a\x01k\x12" + _varint(len(value)) + value
    struct = b"\x0a" + _varint(len(entry)) + entry
    number = generation_pb2.GenerateRequest.DESCRIPTOR.fields_by_name["chat"].number
    chat = b"\x22" + _varint(len(struct)) + struct  # Chat.template_kwargs = 4
    request = _varint(number << 3 | 2) + _varint(len(chat)) + chat
    client = await start()
    call = unary_unary(client.channel, "/mlxforge.v1.GenerationService/Generate")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(request)
    assert caught.value.code() is CODE.INVALID_ARGUMENT
    deep = b'{"chat": {"templateKwargs": {"k": ' + b"[" * 2_000 + b"]" * 2_000 + b"}}}"
    with pytest.raises(InvalidRequest):
        decode(deep, Request, Codec.JSON)
    assert client.engine.started == 0


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


DEAD_THREAD = """
import asyncio, sys, threading, time
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.device import DeviceThread
from mlxforge.engine.engine import Engine
from mlxforge.service.api import Api
from mlxforge.service.registry import Registry
from mlxforge.service.server.health import HealthServicer
async def main():
    engine = Engine(sys.argv[1], EngineConfig(warm_up=False))
    registry = Registry()
    registry.add("tiny", engine)
    await registry.load("tiny")
    health = HealthServicer(registry, [])
    before = health._current()[""]
    threading.excepthook = lambda args: None
    def die():
        raise SystemExit
    DeviceThread.shared()._run_calls = die
    DeviceThread.shared().wake()
    limit = time.monotonic() + 5
    while health._current()[""] == before and time.monotonic() < limit:
        await asyncio.sleep(0.01)
    print(before, health._current()[""], engine.healthy, flush=True)
    import os; os._exit(0)
asyncio.run(main())
"""


def test_cve_2026_114051_a_dead_thread_is_not_serving(folder: Path) -> None:
    """Fault 6: the loop answers health checks, but the thread that computes has ended."""
    done = subprocess.run(
        [sys.executable, "-c", DEAD_THREAD, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "1 2 False\n", done.stderr[-3000:]
