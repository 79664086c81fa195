"""A client of HTTP/2 frames, for what a client library would never send."""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType

from hpack import Encoder
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Connection:
    """Frames to a server and from it. Blocking."""

    def __init__(self, address: str, seconds: float = 10.0) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=seconds)
        self._encoder = Encoder()
        self._received = b""
        self.stream_id = -1
        self.send(PREFACE, SettingsFrame(0))

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, *frames: Frame | bytes) -> None:
        """Raises ``OSError`` when the server has closed the connection."""
        parts = (each if isinstance(each, bytes) else each.serialize() for each in frames)
        self._socket.sendall(b"".join(parts))

    def call(self, method: str, **headers: str) -> HeadersFrame:
        """The frame that begins a call on the next stream."""
        self.stream_id += 2
        frame = HeadersFrame(self.stream_id, flags=["END_HEADERS"])
        frame.data = self._encoder.encode(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", f"/{method}"),
                (":authority", "localhost"),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
                *headers.items(),
            ]
        )
        return frame

    def receive(self) -> Frame | None:
        """The next frame; None: the server has closed the connection."""
        header = self._exactly(9)
        if header is None:
            return None
        frame, length = Frame.parse_frame_header(memoryview(header))
        body = self._exactly(length)
        if body is None:
            return None
        frame.parse_body(memoryview(body))
        return frame

    def settle(self) -> None:
        """Wait until the server has read all that was sent, or has closed the connection."""
        with contextlib.suppress(OSError):
            self.send(PingFrame(0, b"settled?"))
        while (frame := self.receive()) is not None:
            if isinstance(frame, PingFrame) and "ACK" in frame.flags:
                return

    def ended_by(self) -> int | None:
        """Reads to the end of the connection: the error code of its GOAWAY, if there was one."""
        code = None
        while (frame := self.receive()) is not None:
            if isinstance(frame, GoAwayFrame):
                code = frame.error_code
        return code

    def _exactly(self, size: int) -> bytes | None:
        while len(self._received) < size:
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._received += data
        taken, self._received = self._received[:size], self._received[size:]
        return taken
