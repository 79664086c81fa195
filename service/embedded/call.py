"""One RPC of the host: requests from C memory in, responses into C memory out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator

from google.protobuf.message import Message

from mlxforge.engine.errors import EngineError, InvalidRequest

from ..api import CallContext, RpcMethod
from ..api.method import closing
from ..errors import engine_error, status_of
from .codec import decode, encode
from .host import Command, Host, Room


class Call:
    """A running RPC. ``run`` is its task; the other methods are told what the host does."""

    def __init__(
        self, host: Host, command: Command, method: RpcMethod, max_message_bytes: int
    ) -> None:
        self._host = host
        self._id = command.call
        self._method = method
        self._request_codec = command.request_codec
        self._response_codec = command.response_codec
        self._max_message_bytes = max_message_bytes
        self._requests: deque[bytes | None] = deque()
        self._sent = asyncio.Event()
        self._room = asyncio.Event()
        self._context = CallContext(deadline=_deadline(command.number))
        self._first = command.payload
        if self._first is None and not method.client_streaming:
            self._first = b""  # an empty message; in a stream it would be none

    def send(self, request: bytes | None) -> None:
        """The host has sent a further request; None: there are no more."""
        self._requests.append(request)
        self._sent.set()

    def resume(self) -> None:
        """The host has room for responses again."""
        self._room.set()

    async def run(self) -> None:
        """Answer the call and end it, exactly once."""
        try:
            responses = self._method.handler(self._decoded(), self._context)
            async with closing(responses):
                async for response in responses:
                    if not await self._give(encode(response, self._response_codec)):
                        return
        except BaseException as error:
            finish_with(self._host, self._id, engine_error(error, self._context.request_id))
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._host.finish(self._id, 0, "", b"")

    async def _give(self, response: bytes) -> bool:
        """Put a response where the host reads, and wait while there is no room for the next."""
        self._room.clear()
        room = self._host.message(self._id, response)
        if room == Room.FULL:
            await self._room.wait()
        return room != Room.GONE

    async def _decoded(self) -> AsyncIterator[Message]:
        if self._first is not None:
            yield self._parsed(self._first)
        while self._method.client_streaming:
            while not self._requests:
                self._sent.clear()
                await self._sent.wait()
            data = self._requests.popleft()
            if data is None:
                return
            self._host.taken(self._id, len(data))
            yield self._parsed(data)

    def _parsed(self, data: bytes) -> Message:
        if len(data) > self._max_message_bytes:
            raise InvalidRequest.of(
                "request",
                f"is {len(data)} bytes long; max_message_bytes is {self._max_message_bytes}",
            )
        return decode(data, self._method.request_type, self._request_codec)


def finish_with(host: Host, call: int, error: EngineError) -> None:
    """End a call with an error's status."""
    status = status_of(error)
    host.finish(call, status.code, status.message, status.SerializeToString())


def _deadline(timeout_ms: int) -> float | None:
    return None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000
