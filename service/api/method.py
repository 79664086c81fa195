"""An RPC without its transport: what every door calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from mlxforge.engine.errors import InvalidRequest

from .context import CallContext

Handler = Callable[[AsyncIterator[Any], CallContext], AsyncIterator[Message]]
"""Requests in, responses out, for all four shapes; raises ``EngineError``.

Closing the iterator (an async generator) early cancels the call.
"""


@dataclass(frozen=True, slots=True)
class RpcMethod:
    """One RPC of the schema. ``name`` is ``package.Service/Method``."""

    name: str
    request_type: type[Message]
    response_type: type[Message]
    client_streaming: bool
    server_streaming: bool
    handler: Handler


def unary_unary(call: Callable[[Any, CallContext], Awaitable[Message]]) -> Handler:
    """One request, one response."""

    async def handler(requests: AsyncIterator[Any], context: CallContext) -> AsyncIterator[Message]:
        yield await call(await _single(requests), context)

    return handler


def unary_stream(call: Callable[[Any, CallContext], AsyncIterator[Message]]) -> Handler:
    """One request, many responses."""

    async def handler(requests: AsyncIterator[Any], context: CallContext) -> AsyncIterator[Message]:
        responses = call(await _single(requests), context)
        async with closing(responses):
            async for response in responses:
                yield response

    return handler


class closing:
    """Closes an async iterator on the way out, if it can be closed.

    Like ``contextlib.aclosing``, for iterators that need not be generators.
    """

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self._iterator = iterator

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()


async def _single(requests: AsyncIterator[Any]) -> Any:
    async for request in requests:
        return request
    raise InvalidRequest.of("request", "the call ended without a request message")
