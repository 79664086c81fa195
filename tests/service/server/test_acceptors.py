"""Several gRPC servers on one address: all take calls, and a foreign one is noticed."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc

from mlxforge.service.api import Api
from mlxforge.service.config import Settings
from mlxforge.service.registry import Registry
from mlxforge.service.server import BindError, Server
from mlxforge.service.server.acceptors import Acceptors
from mlxforge.v1 import generation_pb2, generation_pb2_grpc

from .test_http2 import server

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="one server only, elsewhere")


def server_at(address: str) -> Server:
    return Server(Api(Registry()), Settings(address=(address,), allow_insecure_bind=True))


@LINUX
async def test_connections_are_shared_out() -> None:
    async with server("telemetry.channelz=true") as (address, _):
        # That one of four stays without a connection of 60 happens once in ten million times.
        assert set(await asyncio.gather(*(answer(address) for _ in range(60)))) == {"a b"}
        async with grpc.aio.insecure_channel(address) as channel:
            # It takes the channels of asyncio too, of which its types do not know.
            stub: Any = channelz_pb2_grpc.ChannelzStub(channel)  # type: ignore[arg-type]
            found = (await stub.GetServers(channelz_pb2.GetServersRequest())).server
        calls = sorted(each.data.calls_started for each in found)
        assert len(calls) == 4 and sum(calls) == 61
        assert calls[0] > 0, "a server took none"


@LINUX
async def test_few_connections_are_counted_by_one_server() -> None:
    for most, servers in ((3, 1), (511, 1), (512, 2), (4096, 4)):
        assert len(list(Acceptors(Settings(max_connections=most), ()))) == servers


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0.0.0.0", "[::]"],  # noqa: S104 - to be told that it cannot be
)
async def test_a_port_in_use_is_told(host: str) -> None:
    first = server_at("127.0.0.1:0")
    await first.start()
    second = server_at(f"{host}:{first.addresses[0].rpartition(':')[2]}")
    with pytest.raises(BindError, match="another server"):
        await second.start()
    await second.stop()
    assert await serves(first.addresses[0])
    await first.stop()
    again = server_at(first.addresses[0])  # its connections wait for their end
    await again.start()
    assert await serves(again.addresses[0])
    await again.stop()


async def test_an_address_that_is_none_is_told() -> None:
    for address in ("no.such.host.invalid:0", "192.0.2.1:0"):
        nowhere = server_at(address)
        with pytest.raises(BindError, match="cannot listen on"):
            await nowhere.start()
        await nowhere.stop()


async def answer(address: str) -> str:
    """On a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub: Any = generation_pb2_grpc.GenerationServiceStub(channel)
        request = generation_pb2.GenerateRequest(prompt="a b", max_tokens=2)
        return str((await stub.Generate(request, timeout=60)).choices[0].text)


async def serves(address: str) -> bool:
    """Whether a connection comes about."""
    async with grpc.aio.insecure_channel(address) as channel, asyncio.timeout(5):
        await channel.channel_ready()
    return True
