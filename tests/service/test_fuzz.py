"""Fault 18: requests made from the schema's own descriptors, with the most extreme values.

A real engine on a tiny model answers. ``MLXFORGE_SOAK=1`` sends 10,000 (or
``MLXFORGE_FUZZ_REQUESTS``), with the seed of ``MLXFORGE_FUZZ_SEED`` (else one that is printed);
CI sends fewer, always the same.
"""

from __future__ import annotations

import asyncio
import collections
import os
import random
import sys
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mlxforge.service.api import Api, RpcMethod
from mlxforge.service.config import Settings, settings_from
from mlxforge.service.models import open_registry
from mlxforge.service.server import Server
from mlxforge.v1 import embedding_pb2, generation_pb2, model_pb2, tokenizer_pb2

from ..descriptors import descriptor_of
from ..engine.loader.folders import write_folder
from .raw_calls import stream_stream, unary_stream

SOAK = bool(os.environ.get("MLXFORGE_SOAK"))
REQUESTS = int(os.environ.get("MLXFORGE_FUZZ_REQUESTS", 10_000 if SOAK else 400))
SEED = int(os.environ.get("MLXFORGE_FUZZ_SEED", random.randrange(2**32) if SOAK else 18))
SECONDS = 10.0
DOCUMENTED = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
}

F = FieldDescriptor
INTEGERS = [
    0,
    1,
    -1,
    2,
    3,
    127,
    128,
    2**31 - 1,
    -(2**31),
    2**32 - 1,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
]
RANGES = {
    F.TYPE_INT32: (-(2**31), 2**31 - 1),
    F.TYPE_UINT32: (0, 2**32 - 1),
    F.TYPE_INT64: (-(2**63), 2**63 - 1),
    F.TYPE_UINT64: (0, 2**64 - 1),
}
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 5e-324, 3.4e38, 1e308]
FLOATS += [float("nan"), float("inf"), float("-inf")]
TEXTS = [
    "",
    "a",
    " ",
    "\0",
    "\ufffe\uffff",
    "🏔" * 9,
    "e\u0301" * 300,
    "x" * 5000,
    "{" * 3000,
    "(" * 3000,
    "(a+)+b",
    "[" * 2000 + "]" * 2000,
    '{"type":"array","items":' * 1500 + "{}" + "}" * 1500,
    '{"$ref":"#"}',
    '{"type":"object","properties":{"a":{"enum":[' + "1," * 3000 + "1]}}}",
    'start: "a" start',
    "user",
    "system",
    "{{ 7 * 7 }}{% for i in range(10**9) %}x{% endfor %}",
    "<|im_start|>",
]
BASES: dict[str, Message] = {
    "GenerateRequest": generation_pb2.GenerateRequest(prompt="once", max_tokens=4),
    "EmbedRequest": embedding_pb2.EmbedRequest(inputs=[{"text": "once"}]),
    "TokenizeRequest": tokenizer_pb2.TokenizeRequest(text="once"),
    "DetokenizeRequest": tokenizer_pb2.DetokenizeRequest(token_ids=[1, 2]),
    "UnloadModelRequest": model_pb2.UnloadModelRequest(model="another"),
}


class Fuzzer:
    """Makes requests of a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def request(self, kind: type[Message]) -> Message:
        """A plain request with some fields gone wild, or a wild one altogether."""
        made = kind()
        if base := BASES.get(kind.DESCRIPTOR.name):
            made.CopyFrom(base)
        fields = list(descriptor_of(kind).fields)
        count = self.random.choice((1, 1, 2, 3, len(fields)))
        for field in self.random.sample(fields, min(count, len(fields))):
            # A model that is not there hides what else is wrong.
            if field.name != "model" or self.random.random() < 0.1:
                self.fill(made, field, 0)
        return made

    def fill(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        """Give one field a value; message fields within them, down to some depth."""
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            for _ in range(self.random.choice((0, 1, 3, 40))):
                self._entry(getattr(message, field.name), kind, depth)
        elif field.is_repeated:
            values = getattr(message, field.name)
            for _ in range(self.random.choice((0, 1, 2, 17, 200) if depth < 2 else (0, 1))):
                if kind is None:
                    values.append(self.scalar(field))
                else:
                    self._message(values.add(), depth + 1)
        elif kind is not None:
            child = getattr(message, field.name)
            child.SetInParent()
            self._message(child, depth + 1)
        else:
            setattr(message, field.name, self.scalar(field))

    def _message(self, message: Message, depth: int) -> None:
        for field in descriptor_of(message).fields:
            if depth < 6 and self.random.random() < 0.5:
                self.fill(message, field, depth)

    def _entry(self, values: Any, kind: Any, depth: int) -> None:
        key = self.scalar(kind.fields_by_name["key"])
        value = kind.fields_by_name["value"]
        if value.message_type is None:
            values[key] = self.scalar(value)
        else:
            self._message(values[key], depth + 1)

    def scalar(self, field: FieldDescriptor) -> Any:
        """A value at or beyond the edge."""
        if field.type in RANGES:
            low, high = RANGES[field.type]
            return self.random.choice([i for i in INTEGERS if low <= i <= high])
        if field.type in (F.TYPE_FLOAT, F.TYPE_DOUBLE):
            return self.random.choice(FLOATS)
        if field.type == F.TYPE_BOOL:
            return self.random.random() < 0.5
        if field.type == F.TYPE_ENUM:
            return self.random.choice((0, 1, 2, 99, -1, 2**31 - 1))
        if field.type == F.TYPE_STRING:
            return self.random.choice(TEXTS)
        raise AssertionError(f"no values for {field.full_name}")


@asynccontextmanager
async def live(folder: Path) -> AsyncIterator[tuple[Api, grpc.aio.Channel]]:
    """A server with a tiny model that generates."""
    write_folder(folder / "tiny", max_position_embeddings=128)
    values = {"engine": {"max_running_requests": 8}, "address": "127.0.0.1:0"}
    settings: Settings = settings_from({"model": str(folder / "tiny"), **values}, "test")
    registry = open_registry(settings)
    api = Api(registry, settings.limits)
    server = Server(api, settings)
    await server.start()
    try:
        await registry.load("tiny")
        async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
            yield api, channel
    finally:
        await server.stop()
        await registry.close()


async def code_of(channel: grpc.aio.Channel, method: RpcMethod, data: bytes) -> str:
    """How the call ends."""
    call: AsyncIterable[bytes]
    if method.client_streaming:
        call = stream_stream(channel, f"/{method.name}")(iter([data]), timeout=SECONDS)
    else:
        call = unary_stream(channel, f"/{method.name}")(data, timeout=SECONDS)
    try:
        async for _ in call:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def nested(field_numbers: list[int], times: int) -> bytes:
    """Messages within messages, deeper than any library would write them."""
    data = b""
    for i in range(times):
        number = field_numbers[i % len(field_numbers)]
        size, length = len(data), b""
        while size >= 128:
            length += bytes([size % 128 + 128])
            size //= 128
        data = bytes([number * 8 + 2]) + length + bytes([size]) + data
    return data


@pytest.mark.slow
@pytest.mark.timeout(3600 if SOAK else 300)
async def test_extreme_requests(tmp_path: Path) -> None:
    """Only documented codes, and the server serves as before."""
    fuzzer = Fuzzer(SEED)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    wrong: list[str] = []
    room = asyncio.Semaphore(16)
    async with live(tmp_path) as (api, channel):
        generate = api.methods["mlxforge.v1.GenerationService/Generate"]
        plain = BASES["GenerateRequest"].SerializeToString()
        assert await code_of(channel, generate, plain) == "OK"
        methods = list(api.methods.values())

        async def one(method: RpcMethod, request: Message) -> None:
            async with room:
                code = await code_of(channel, method, request.SerializeToString())
            counts[method.name.rpartition("/")[2], code] += 1
            if code not in DOCUMENTED:
                wrong.append(f"{code} {method.name} {json_format.MessageToJson(request)[:2000]}")

        async with asyncio.TaskGroup() as group:
            for i in range(REQUESTS):
                method = methods[i % len(methods)]
                group.create_task(one(method, fuzzer.request(method.request_type)))
        assert not wrong, f"seed {SEED}: {len(wrong)} of {REQUESTS}, first: {wrong[0]}"
        assert await code_of(channel, generate, plain) == "OK"
    table = sorted(counts.items())
    print(f"seed {SEED}:", *(f"{m} {c} {n}" for (m, c), n in table), sep="\n  ", file=sys.stderr)
    assert {code for _, code in counts} >= {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}


async def test_nesting(tmp_path: Path) -> None:
    """CVE-2025-4565, CVE-2026-0994: recursion in protobuf and in JSON ends at a limit."""
    async with live(tmp_path) as (api, channel):
        tokenize = api.methods["mlxforge.v1.TokenizerService/Tokenize"]
        generate = api.methods["mlxforge.v1.GenerationService/Generate"]
        # Struct.fields -> FieldsEntry.value -> Value.struct_value, within each other.
        for times in (90, 1_000, 100_000):
            chat = nested([5, 2, 1], times)
            for number in range(1, 8):
                data = nested([number], 1)[:1] + _varint(len(chat)) + chat
                assert await code_of(channel, tokenize, data) in DOCUMENTED
        for schema in ('{"items":' * 20_000 + "{}" + "}" * 20_000, "[" * 100_000):
            request = generation_pb2.GenerateRequest(prompt="a", json_schema=schema, max_tokens=2)
            data = request.SerializeToString()
            assert await code_of(channel, generate, data) == "INVALID_ARGUMENT"
        plain = BASES["GenerateRequest"].SerializeToString()
        assert await code_of(channel, generate, plain) == "OK"


def _varint(value: int) -> bytes:
    data = b""
    while value >= 128:
        data += bytes([value % 128 + 128])
        value //= 128
    return data + bytes([value])


def test_every_kind_of_field_has_values() -> None:
    """A type of field that the schema does not use yet would not be fuzzed."""
    fuzzer = Fuzzer(0)
    for file in (generation_pb2, embedding_pb2, tokenizer_pb2, model_pb2):
        for descriptor in file.DESCRIPTOR.message_types_by_name.values():
            for _ in range(20):
                fuzzer.request(message_factory.GetMessageClass(descriptor))
