"""gRPC's side of the API: one generic handler for every method of every service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message

from mlxforge.engine.errors import EngineError, InvalidRequest

from ..api import Api, CallContext, RpcMethod
from ..api.method import closing
from ..api.request_log import log_call
from ..errors import status_of
from .gate import Gate, shutting_down

DETAILS = "grpc-status-details-bin"

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ApiServicer(grpc.GenericRpcHandler):
    """Answers all methods of an ``Api``."""

    def __init__(self, api: Api, gate: Gate) -> None:
        self._gate = gate
        self._handlers = {
            f"/{name}": self._method_handler(method) for name, method in api.methods.items()
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """gRPC asks here for a path's handler."""
        return self._handlers.get(details.method)

    def _method_handler(self, method: RpcMethod) -> grpc.RpcMethodHandler[Any, Any]:
        # Requests stay bytes: gRPC answers INTERNAL to what does not parse, we say what is wrong.
        async def stream_stream(requests: AsyncIterator[bytes], context: Any) -> None:
            async with self._call(method, requests, context) as responses:
                # Written here, not yielded: a cancel between two messages must close the call
                # at once, and gRPC leaves a suspended generator to the garbage collector.
                async for response in responses:
                    await context.write(response)

        async def stream_unary(requests: AsyncIterator[bytes], context: Any) -> Message:
            async with self._call(method, requests, context) as responses:
                [response] = [response async for response in responses]
            return response

        async def unary_stream(request: bytes, context: Any) -> None:
            await stream_stream(_one(request), context)

        async def unary_unary(request: bytes, context: Any) -> Message:
            return await stream_unary(_one(request), context)

        shapes: dict[tuple[bool, bool], tuple[Any, Any]] = {
            (False, False): (grpc.unary_unary_rpc_method_handler, unary_unary),
            (False, True): (grpc.unary_stream_rpc_method_handler, unary_stream),
            (True, False): (grpc.stream_unary_rpc_method_handler, stream_unary),
            (True, True): (grpc.stream_stream_rpc_method_handler, stream_stream),
        }
        make, behavior = shapes[method.client_streaming, method.server_streaming]
        serialize = method.response_type.SerializeToString
        handler: grpc.RpcMethodHandler[Any, Any] = make(behavior, response_serializer=serialize)
        return handler

    @asynccontextmanager
    async def _call(
        self, method: RpcMethod, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[AsyncIterator[Message]]:
        """Runs a call's responses; turns its error into the RPC's status."""
        call = CallContext.with_timeout(context.time_remaining())
        admitted = False
        try:
            with self._gate.admit():
                admitted = True
                responses = method.handler(_parsed(method, requests), call)
                async with closing(responses):
                    yield responses
        except EngineError as error:
            if not admitted:  # the API, which logs its calls, has not seen it
                log_call(method.name, call, 0.0, error)
            await _abort(context, error, call.request_id)
        except asyncio.CancelledError:
            if not self._gate.expelled:
                raise
            await _abort(context, shutting_down(), call.request_id)


async def _one(request: bytes) -> AsyncIterator[bytes]:
    yield request


async def _parsed(method: RpcMethod, requests: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    async for data in requests:
        try:
            request = method.request_type.FromString(data)
        except DecodeError as error:
            name = method.request_type.DESCRIPTOR.full_name
            raise InvalidRequest.of("request", f"is not a {name} message") from error
        yield request


async def _abort(context: Any, error: EngineError, request_id: str) -> NoReturn:
    status = status_of(error, request_id)
    await context.abort(
        _CODES[status.code],
        status.message,
        trailing_metadata=((DETAILS, status.SerializeToString()),),
    )
    raise AssertionError("abort always raises")
