"""Reflection, both versions: what a client without proto files learns."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2

from .fakes import FakeEngine, Script
from .serving import Client, Start

VERSIONS = ("v1", "v1alpha")
SERVICES = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "mlxforge.v1.EmbeddingService",
    "mlxforge.v1.GenerationService",
    "mlxforge.v1.ModelService",
    "mlxforge.v1.TokenizerService",
}


async def ask(client: Client, version: str, **fields: Any) -> Any:
    """One question; the two versions have the same messages."""
    call: Any = client.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    await call.write(reflection_pb2.ServerReflectionRequest(**fields))
    response = await call.read()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    return response


@pytest.mark.parametrize("version", VERSIONS)
async def test_services_are_listed(version: str, start: Start) -> None:
    response = await ask(await start(), version, list_services="")
    assert {service.name for service in response.list_services_response.service} == SERVICES


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("symbol", sorted(SERVICES))
async def test_every_service_can_be_described(version: str, symbol: str, start: Start) -> None:
    response = await ask(await start(), version, file_containing_symbol=symbol)
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(data)
        for data in response.file_descriptor_response.file_descriptor_proto
    ]
    assert symbol in {
        f"{file.package}.{service.name}" for file in files for service in file.service
    }


async def test_methods_are_symbols_too(start: Start) -> None:
    symbol = "mlxforge.v1.GenerationService.StreamGenerate"
    response = await ask(await start(), "v1", file_containing_symbol=symbol)
    data = response.file_descriptor_response.file_descriptor_proto
    files = map(descriptor_pb2.FileDescriptorProto.FromString, data)
    assert "mlxforge/v1/generation.proto" in {file.name for file in files}


@pytest.mark.parametrize(
    "symbol",
    ["nope.Nope", "", "mlxforge.v1.GenerationService.Nope", "mlxforge.v1.Nope.StreamGenerate"],
)
async def test_unknown_symbols(symbol: str, start: Start) -> None:
    response = await ask(await start(), "v1", file_containing_symbol=symbol)
    assert response.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def grpcurl() -> str | None:
    """The real Go client: on PATH, in GRPCURL, or where `go install` puts it."""
    places = [os.environ.get("GRPCURL"), shutil.which("grpcurl"), Path.home() / "go/bin/grpcurl"]
    return next((str(place) for place in places if place and Path(place).is_file()), None)


@pytest.mark.skipif(
    grpcurl() is None,
    reason="no grpcurl: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest, or GRPCURL",
)
async def test_the_real_grpcurl_needs_no_proto_files(start: Start) -> None:
    client = await start(FakeEngine(script=Script(word_seconds=0.02)))

    async def run(*arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            grpcurl() or "",
            "-plaintext",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    code, out, _ = await run(client.address, "list")
    assert code == 0 and set(out.split()) == SERVICES
    code, out, _ = await run(client.address, "describe", "grpc.reflection.v1.ServerReflection")
    assert code == 0 and ".grpc.reflection.v1.ServerReflectionRequest" in out
    method = "mlxforge.v1.GenerationService/StreamGenerate"
    chat = '{"chat":{"messages":[{"role":"user","content":"hello there"}]},"max_tokens":3}'
    code, out, _ = await run("-d", chat, client.address, method)
    assert code == 0 and '"text": "there "' in out and "FINISH_REASON_LENGTH" in out
    code, _, err = await run("-d", '{"n":0}', client.address, method)
    assert code != 0
    assert "InvalidArgument" in err and "google.rpc.BadRequest" in err and '"prompt"' in err
