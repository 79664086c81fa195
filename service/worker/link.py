"""One end of the connection between front and worker: frames over a socket pair.

A frame is a length (4 bytes, big-endian) and a MessagePack array of messages. What is sent
during one turn of the loop travels together: a step's outputs, of all its requests, are one
frame, one system call and one wake-up of the reader.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from mlxforge.engine.errors import EngineError, InternalError, ResourceExhausted

from .messages import Message

MAX_FRAME_BYTES = 64 * 2**20
"""Largest frame; the peer that announces a larger one is given up before it is read."""
_SPLIT_BYTES = 2**20
"""A frame that is larger than this takes no further message."""
_SOCKET_BYTES = 2**20
"""Of the kernel's buffers; macOS's default of 8 KiB would cut a step's frame in pieces."""
_HIGH_WATER_BYTES = 4 * 2**20
_LENGTH_BYTES = 4
# MessagePack's array of up to 2^32 - 1 elements, whose number follows.
_ARRAY = b"\xdd"
_HEADER = bytes(_LENGTH_BYTES) + _ARRAY + bytes(4)

_encoder = msgspec.msgpack.Encoder()
T = TypeVar("T", bound=Message)


class BadFrame(Exception):
    """The peer sent something that is no frame of ours."""


class Link(asyncio.Protocol, Generic[T]):
    """Sends messages and receives those of ``decoder``'s types. Used on one loop.

    ``received`` gets the messages of a frame; ``lost`` is called once, with what was wrong or
    None where the peer just went; ``refused`` gets a message that cannot be sent, and why.
    """

    def __init__(
        self,
        decoder: msgspec.msgpack.Decoder[list[T]],
        received: Callable[[list[T]], None],
        lost: Callable[[BadFrame | None], None],
        refused: Callable[[Message, EngineError], None],
    ) -> None:
        self._decoder = decoder
        self._received = received
        self._lost = lost
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._outbox: list[Message] = []
        self._buffer = bytearray()
        self._fault: BadFrame | None = None
        self.congested = False
        """Whether the peer is behind: what is sent now waits in this process's memory."""

    @classmethod
    async def open(cls, end: socket.socket, *args: Any) -> Link[T]:
        """A link over a socket, which it owns from now on. ``args`` as of the constructor."""
        end.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BYTES)
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: cls(*args), sock=end)
        return link

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, message: Message) -> None:
        """Send with all else of this turn of the loop. To a peer that is gone: nothing."""
        if self._transport is None:
            return
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(message)

    def close(self) -> None:
        """End the connection once what was sent is on its way."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{transport!r} is no stream")
        transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = None
        self._outbox.clear()
        self._lost(self._fault)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        self._buffer += data
        try:
            self._take_frames()
        except (BadFrame, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._fault = error if isinstance(error, BadFrame) else BadFrame(str(error))
            self._buffer.clear()
            if self._transport is not None:
                self._transport.abort()

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self.congested = True

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self.congested = False

    def _take_frames(self) -> None:
        at = 0
        while not self._fault and len(self._buffer) - at >= _LENGTH_BYTES:
            start = at + _LENGTH_BYTES
            size = int.from_bytes(self._buffer[at:start], "big")
            if size > MAX_FRAME_BYTES:
                raise BadFrame(f"a frame of {size} bytes")
            if len(self._buffer) < start + size:
                break
            at = start + size
            with memoryview(self._buffer) as view:
                messages = self._decoder.decode(view[start:at])
            self._received(messages)
        del self._buffer[:at]

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        frame, count = bytearray(_HEADER), 0
        for message in outbox:
            start = len(frame)
            error = _append(frame, message)
            if error is not None:
                del frame[start:]
                self._refused(message, error)
                continue
            count += 1
            if len(frame) > _SPLIT_BYTES:
                self._write(frame, count)
                frame, count = bytearray(_HEADER), 0
        if count:
            self._write(frame, count)

    def _write(self, frame: bytearray, count: int) -> None:
        frame[:_LENGTH_BYTES] = (len(frame) - _LENGTH_BYTES).to_bytes(_LENGTH_BYTES, "big")
        frame[_LENGTH_BYTES + 1 : len(_HEADER)] = count.to_bytes(4, "big")
        if self._transport is not None:
            self._transport.write(frame)


def _append(frame: bytearray, message: Message) -> EngineError | None:
    """Add a message to a frame, or say why it cannot travel."""
    start = len(frame)
    try:
        _encoder.encode_into(message, frame, -1)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return InternalError(f"a {type(message).__name__} message cannot be sent: {error}")
    # With room for the largest that may stand before it.
    if len(frame) - start > MAX_FRAME_BYTES - _SPLIT_BYTES - len(_HEADER):
        return ResourceExhausted(
            f"a {type(message).__name__} message of {len(frame) - start} bytes is more than "
            f"the worker's connection takes; ask for less at once",
            reason="MESSAGE_TOO_LARGE",
            retry_after=None,
        )
    return None
