"""Servers on free ports of this machine, in front of scripted engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import grpc
from google.rpc import error_details_pb2, status_pb2

from mlxforge.engine.client import EngineClient
from mlxforge.service.api import Api
from mlxforge.service.config import Settings
from mlxforge.service.registry import Registry
from mlxforge.service.server import Server
from mlxforge.v1 import (
    embedding_pb2_grpc,
    generation_pb2_grpc,
    model_pb2_grpc,
    tokenizer_pb2_grpc,
)

from .fakes import FakeEngine


@dataclass
class Client:
    """A running server, its engine, and stubs on one connection to it."""

    server: Server
    registry: Registry
    engine: FakeEngine
    address: str
    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        self.generation: Any = generation_pb2_grpc.GenerationServiceStub(self.channel)
        self.embedding: Any = embedding_pb2_grpc.EmbeddingServiceStub(self.channel)
        self.tokenizer: Any = tokenizer_pb2_grpc.TokenizerServiceStub(self.channel)
        self.models: Any = model_pb2_grpc.ModelServiceStub(self.channel)


@asynccontextmanager
async def serving(
    engine: EngineClient, *, load: bool = True, **settings: Any
) -> AsyncIterator[Client]:
    """A server with one engine, and a client of it."""
    registry = Registry()
    registry.add("fake", engine)
    settings.setdefault("address", ("127.0.0.1:0",))
    server = Server(Api(registry), Settings(**settings))
    await server.start()
    try:
        if load:
            await registry.load("fake")
        [address] = server.addresses
        async with grpc.aio.insecure_channel(address) as channel:
            # Whoever has a real engine served does not ask the client for it.
            yield Client(server, registry, cast(FakeEngine, engine), address, channel)
    finally:
        await server.stop()
        await registry.close()


Start = Callable[..., Awaitable[Client]]


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something that must come true soon."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.005)


def status_of_rpc(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The details an RPC's error carries; fails without them."""
    metadata = dict(error.trailing_metadata() or ())
    return status_pb2.Status.FromString(metadata["grpc-status-details-bin"])


def details_of(status: status_pb2.Status) -> dict[str, Any]:
    """Details by the name of their type."""
    found: dict[str, Any] = {}
    for detail in status.details:
        message = getattr(error_details_pb2, detail.type_url.rpartition(".")[2])()
        unpacked = detail.Unpack(message)
        assert unpacked
        found[type(message).__name__] = message
    return found
