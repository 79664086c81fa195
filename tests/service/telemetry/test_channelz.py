"""Channelz over gRPC, when it was asked for."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc

from mlxforge.service.security import AuthSettings
from mlxforge.service.telemetry.settings import TelemetrySettings
from mlxforge.v1 import generation_pb2

from .conftest import Watch
from .watched import Watched


def stub_of(server: Watched) -> Any:
    # It takes the channels of asyncio too, of which its types do not know.
    return channelz_pb2_grpc.ChannelzStub(server.channel)  # type: ignore[arg-type]


async def test_its_counters_move(watch: Watch) -> None:
    server = await watch(telemetry=TelemetrySettings(channelz=True))
    stub = stub_of(server)

    async def calls_succeeded() -> int:
        answer = await stub.GetServers(channelz_pb2.GetServersRequest())
        return max(int(server.data.calls_succeeded) for server in answer.server)

    before = await calls_succeeded()
    await server.generation.Generate(generation_pb2.GenerateRequest(prompt="a", max_tokens=1))
    assert await calls_succeeded() >= before + 2

    answer = await stub.GetServers(channelz_pb2.GetServersRequest())
    assert any(each.listen_socket for each in answer.server)


async def test_not_served_by_default(watch: Watch) -> None:
    server = await watch()
    stub = stub_of(server)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetServers(channelz_pb2.GetServersRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_only_an_admins_token_reads_it(watch: Watch, tmp_path: Path) -> None:
    plain, admin = secrets.token_hex(16), secrets.token_hex(16)
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f'[user]\ntoken = "{plain}"\n[ops]\ntoken = "{admin}"\nadmin = true\n')
    tokens.chmod(0o600)
    server = await watch(
        telemetry=TelemetrySettings(channelz=True), auth=AuthSettings(tokens_file=str(tokens))
    )
    stub = stub_of(server)
    request = channelz_pb2.GetServersRequest()
    for token, code in (
        (None, grpc.StatusCode.UNAUTHENTICATED),
        (plain, grpc.StatusCode.PERMISSION_DENIED),
    ):
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetServers(request, metadata=metadata)
        assert caught.value.code() is code
    answer = await stub.GetServers(request, metadata=(("authorization", f"Bearer {admin}"),))
    assert answer.server
