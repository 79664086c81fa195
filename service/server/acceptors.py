"""The gRPC servers of a process: several on the same addresses take calls side by side."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence

import grpc

from ..config import Settings
from .sockets import BindError, UnixSocket, check_unused
from .tls import Tls

# A server takes one new call at a time, over two threads, however many wait. On a busy machine
# that is 1 to 3 ms for each, and at ten times the load calls came faster: the 99th percentile of
# refusals was 90 to 175 ms with one server, 26 to 44 ms with four.
_SERVERS = 4
# So many connections at least may each have, as the kernel does not share them out evenly.
_CONNECTIONS = 256


class Acceptors:
    """Servers with the same handlers. What is added must be added to ``each`` of them."""

    def __init__(
        self, settings: Settings, interceptors: Sequence[grpc.aio.ServerInterceptor]
    ) -> None:
        """Reads certificates. Raises ``ConfigError``."""
        self._tls = Tls(settings.tls) if settings.tls.enabled else None
        self._socket_mode = settings.socket_mode
        self._sockets: list[UnixSocket] = []
        count = _count(settings.max_connections)
        options = _options(settings, count)
        self._servers = [
            grpc.aio.server(interceptors=interceptors, options=options) for _ in range(count)
        ]

    def __iter__(self) -> Iterator[grpc.aio.Server]:
        return iter(self._servers)

    def bind(self, address: str) -> str:
        """Listen; the address, with the real port for port 0. Raises ``BindError``."""
        first, *others = self._servers
        if not address.startswith("unix:"):
            if others:
                check_unused(address)
            real = f"{address.rpartition(':')[0]}:{self._add_port(first, address)}"
            for server in others:
                self._add_port(server, real)
            return real
        path = UnixSocket(address, self._socket_mode)
        with path.binding():
            self._add_port(first, address)
        self._sockets.append(path)
        return address

    async def start(self) -> None:
        """Answer calls."""
        for server in self._servers:
            await server.start()

    async def stop(self, seconds: float) -> None:
        """Stop listening; calls that run have so long."""
        await asyncio.gather(*(server.stop(seconds) for server in self._servers))
        for each in self._sockets:
            each.remove()

    def _add_port(self, server: grpc.aio.Server, address: str) -> int:
        try:
            # A Unix socket stays in this machine, and its permissions say who may use it.
            if self._tls is None or address.startswith("unix:"):
                return server.add_insecure_port(address)
            return server.add_secure_port(address, self._tls.credentials())
        except RuntimeError as error:
            raise BindError(
                f"cannot listen on {address}: is another server running there? "
                f"Choose another with --address"
            ) from error


def _count(max_connections: int) -> int:
    """Of servers: Linux alone shares connections out among sockets of one address."""
    if sys.platform != "linux":
        return 1
    return max(1, min(_SERVERS, max_connections // _CONNECTIONS))


def _options(settings: Settings, servers: int) -> list[tuple[str, int]]:
    """Of each of so many servers."""
    ping_ms = round(settings.keepalive_seconds * 1000)
    timeout_ms = round(settings.keepalive_timeout_seconds * 1000)
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        ("grpc.max_allowed_incoming_connections", settings.max_connections // servers),
        ("grpc.server_handshake_timeout_ms", round(settings.handshake_seconds * 1000)),
        ("grpc.so_reuseport", int(servers > 1)),
        # A client that is gone without a word is noticed after these two.
        ("grpc.keepalive_time_ms", ping_ms),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        # The one that gRPC 1.85 goes by for the ping itself: 60 s if left alone.
        ("grpc.http2.ping_timeout_ms", timeout_ms),
        ("grpc.http2.max_pings_without_data", 0),
        # gRPC allows a client one ping in 5 minutes and then closes its connection.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
