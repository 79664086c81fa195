"""The two doors of the command line: a running server, or an engine in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from mlxforge.engine.errors import EngineError

# Their descriptors are found by name.
from mlxforge.v1 import embedding_pb2, generation_pb2, model_pb2, tokenizer_pb2  # noqa: F401

from ..api import Api, CallContext
from ..api.method import closing
from ..config import ConfigError, Settings, load_settings
from ..errors import status_of
from ..models import default_models, open_registry
from .connection import current
from .failure import CallError, CommandError, ExitCode
from .options import Defaults, Target
from .progress import LoadProgress

_PACKAGE = "mlxforge.v1"
_DETAILS = "grpc-status-details-bin"


class Door(Protocol):
    """Calls RPCs of the schema by name, ``GenerationService/Generate``."""

    def call(self, method: str, request: Message) -> AsyncIterator[Any]:
        """The responses. Closing the iterator cancels. Raises ``CallError``."""
        ...


async def call_one(door: Door, method: str, request: Message) -> Any:
    """The one response of a call. Raises ``CallError``."""
    [response] = [response async for response in door.call(method, request)]
    return response


@asynccontextmanager
async def open_door(target: Target) -> AsyncIterator[Door]:
    """The door that the options name. Raises ``CommandError``."""
    if target.embedded:
        async with _embedded(target) as door:
            yield door
        return
    address = target.address or _settings().address[0]
    connection = current()
    async with connection.channel(address) as channel:
        yield RemoteDoor(channel, address, target.timeout, connection.metadata)


class RemoteDoor:
    """A running server."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        address: str,
        timeout: float | None,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> None:
        """``metadata`` goes with every call."""
        self._metadata = tuple(metadata)
        self._channel = channel
        self._address = address
        self._timeout = timeout

    async def call(self, method: str, request: Message) -> AsyncIterator[Any]:
        """The responses. Raises ``CallError``."""
        service, _, name = method.partition("/")
        found = descriptor_pool.Default().FindMethodByName(f"{_PACKAGE}.{service}.{name}")
        # A stream of one message is a unary response, on the wire.
        rpc = self._channel.unary_stream(
            f"/{_PACKAGE}.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(found.output_type).FromString,
        )
        call = rpc(request, timeout=self._timeout, metadata=self._metadata)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from error
        finally:
            call.cancel()

    def _error(self, error: grpc.aio.AioRpcError) -> CommandError:
        for key, value in error.trailing_metadata() or ():
            if key == _DETAILS and isinstance(value, bytes):
                return CallError(status_pb2.Status.FromString(value))
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            if "SSL" in (error.details() or ""):
                return CommandError(
                    f"no TLS with {self._address}: {error.details()}",
                    "--ca names the PEM file to trust; --certificate and --key are for mutual TLS",
                    ExitCode.UNAVAILABLE,
                )
            return CommandError(
                f"no server answers at {self._address}",
                "start one with `mlxforge serve`, name another with --address, or add --embedded "
                "to run the model in this process",
                ExitCode.UNAVAILABLE,
            )
        code, message = error.code().value[0], error.details() or error.code().name
        return CallError(status_pb2.Status(code=code, message=message))


class EmbeddedDoor:
    """Engines in this process."""

    def __init__(self, api: Api, timeout: float | None) -> None:
        self._api = api
        self._timeout = timeout

    async def call(self, method: str, request: Message) -> AsyncIterator[Any]:
        """The responses. Raises ``CallError``."""
        context = CallContext.with_timeout(self._timeout)
        try:
            rpc = self._api.methods[f"{_PACKAGE}.{method}"]
            responses = rpc.handler(_one(request), context)
            async with closing(responses):
                async for response in responses:
                    yield response
        except EngineError as error:
            raise CallError(status_of(error, context.request_id)) from error


async def _one(request: Message) -> AsyncIterator[Message]:
    yield request


@asynccontextmanager
async def _embedded(target: Target) -> AsyncIterator[EmbeddedDoor]:
    settings = _settings({"model": target.model or None})
    if not settings.model:
        settings = dataclasses.replace(settings, model=_defaults(target.defaults))
    progress = LoadProgress(quiet=target.as_json)
    registry = open_registry(settings, progress.of)
    try:
        with progress:
            for entry in list(registry):
                await registry.load(entry.id)
        yield EmbeddedDoor(Api(registry, settings.limits), target.timeout)
    except EngineError as error:
        status = status_of(error)
        if status.code == code_pb2.FAILED_PRECONDITION:
            raise CommandError(error.message, code=ExitCode.NO_MODEL) from error
        raise CallError(status) from error
    finally:
        await registry.close()


def _defaults(wanted: Defaults) -> tuple[str, ...]:
    models = default_models()
    return models if wanted is Defaults.ALL else (models[wanted.value],)


def _settings(flags: dict[str, Any] | None = None) -> Settings:
    try:
        return load_settings(flags)
    except ConfigError as error:
        raise CommandError(str(error), code=ExitCode.USAGE) from error
