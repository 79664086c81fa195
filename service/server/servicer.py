"""gRPC's side of the API: one generic handler for every method of every service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from mlxforge.engine.errors import EngineError, InvalidRequest

from ..api import Api, CallContext, RpcMethod
from ..api.method import closing
from ..api.observer import CallEnd
from .auth import caller
from .gate import Gate, shutting_down
from .metadata import REQUEST_ID, identity_of
from .quota import Meter
from .status import abort
from .tls import peer_name


class ApiServicer(grpc.GenericRpcHandler):
    """Answers all methods of an ``Api``."""

    def __init__(self, api: Api, gate: Gate, *, share_prefixes: bool = False) -> None:
        """``share_prefixes`` lets callers share cached prefixes."""
        self._gate = gate
        self._observer = api.observer
        self._share_prefixes = share_prefixes
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
        who = caller.get()
        principal = who.grant.name or peer_name(context.auth_context())
        call = CallContext.with_timeout(
            context.time_remaining(),
            principal=principal,
            tenant="" if self._share_prefixes else principal,
            models=who.grant.models,
            **identity_of(context.invocation_metadata()),
        )
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        admitted = False
        try:
            with self._gate.admit(), who.quota.admit(call.record) as meter:
                admitted = True
                responses = method.handler(_parsed(method, requests, meter), call)
                async with closing(responses):
                    yield responses
        except EngineError as error:
            if not admitted:  # the API has not seen it
                self._observer.ended(CallEnd(method.name, call, 0.0, error))
            await abort(context, error, call.request_id)
        except asyncio.CancelledError:
            if not self._gate.expelled:
                raise
            await abort(context, shutting_down(), call.request_id)


async def _one(request: bytes) -> AsyncIterator[bytes]:
    yield request


async def _parsed(
    method: RpcMethod, requests: AsyncIterator[bytes], meter: Meter
) -> AsyncIterator[Message]:
    async for data in requests:
        meter.request(len(data))
        try:
            request = method.request_type.FromString(data)
        except DecodeError as error:
            name = method.request_type.DESCRIPTOR.full_name
            raise InvalidRequest.of("request", f"is not a {name} message") from error
        yield request
