"""Every RPC of the schema, bound to a registry of models."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from google.protobuf import message_factory
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from mlxforge.engine.errors import Unimplemented
from mlxforge.engine.limits import DEFAULT_LIMITS, Limits
from mlxforge.v1 import embedding_pb2, generation_pb2, model_pb2, tokenizer_pb2

from ..errors import engine_error
from ..registry import Registry
from .context import CallContext
from .deadline import until
from .embedding import EmbeddingService
from .generation import GenerationService
from .method import Handler, RpcMethod, closing, unary_stream, unary_unary
from .model import ModelService
from .observer import CallEnd, CallObserver
from .request_log import RequestLog
from .tokenizer import TokenizerService


class Api:
    """Transport-free implementation of the schema; both doors call its ``methods``.

    Keys are ``package.Service/Method``. An RPC of the schema that nothing implements
    answers ``Unimplemented``. Handlers raise ``EngineError`` only (and what asyncio raises
    into a cancelled task), keep the call's deadline and tell ``observer`` of every end.
    """

    def __init__(
        self,
        registry: Registry,
        limits: Limits = DEFAULT_LIMITS,
        observer: CallObserver | None = None,
    ) -> None:
        """``observer``: by default, one line of log per call."""
        self.registry = registry
        self.observer: CallObserver = RequestLog() if observer is None else observer
        self.methods: Mapping[str, RpcMethod] = MappingProxyType(
            {
                method.name: method
                for file, implementation in (
                    (generation_pb2.DESCRIPTOR, GenerationService(registry, limits, self.observer)),
                    (embedding_pb2.DESCRIPTOR, EmbeddingService(registry, limits)),
                    (tokenizer_pb2.DESCRIPTOR, TokenizerService(registry, limits)),
                    (model_pb2.DESCRIPTOR, ModelService(registry)),
                )
                for service in _services(file)
                for method in _methods(service, implementation, self.observer)
            }
        )

    @property
    def services(self) -> list[str]:
        """Full names of the services, sorted."""
        return sorted({name.partition("/")[0] for name in self.methods})


class _Descriptors(Protocol):
    """What of a protobuf file is used here (its stubs leave the value types open)."""

    services_by_name: Mapping[str, ServiceDescriptor]


def _services(file: FileDescriptor) -> Iterator[ServiceDescriptor]:
    yield from file.services_by_name.values()


def _methods(
    service: ServiceDescriptor, implementation: object, observer: CallObserver
) -> Iterator[RpcMethod]:
    for method in service.methods:
        name = f"{service.full_name}/{method.name}"
        yield RpcMethod(
            name=name,
            request_type=message_factory.GetMessageClass(method.input_type),
            response_type=message_factory.GetMessageClass(method.output_type),
            client_streaming=method.client_streaming,
            server_streaming=method.server_streaming,
            handler=_guarded(name, _handler(method, implementation), observer),
        )


def _handler(method: MethodDescriptor, implementation: object) -> Handler:
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()
    call = getattr(implementation, snake, None)
    if call is None:
        return _unimplemented(method.name)
    if method.client_streaming:
        handler: Handler = call
        return handler
    return unary_stream(call) if method.server_streaming else unary_unary(call)


def _unimplemented(name: str) -> Handler:
    async def handler(requests: AsyncIterator[Any], context: CallContext) -> AsyncIterator[Message]:
        raise Unimplemented(f"this version of mlxforge does not implement {name} yet")
        yield  # type: ignore[unreachable]  # makes this an async generator

    return handler


def _guarded(name: str, handler: Handler, observer: CallObserver) -> Handler:
    """The handler with what every call has: its deadline, typed errors, an observed end."""

    async def guarded(requests: AsyncIterator[Any], context: CallContext) -> AsyncIterator[Message]:
        started = time.monotonic()
        ended_by: BaseException | None = None
        responses = handler(requests, context)
        try:
            async with closing(responses):
                async for response in until(context.deadline, responses):
                    yield response
        except Exception as error:
            ended_by = engine_error(error, context.request_id)
            if ended_by is error:
                raise
            raise ended_by from error
        except BaseException as error:  # GeneratorExit, CancelledError: the caller has gone
            ended_by = error
            raise
        finally:
            observer.ended(CallEnd(name, context, time.monotonic() - started, ended_by))

    return guarded
