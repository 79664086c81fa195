"""The gRPC server: listens, answers, drains, stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import grpc
from grpc_health.v1 import health_pb2_grpc

from ..api import Api
from ..config import Settings
from .auth import Authenticator, AuthInterceptor
from .channelz import SERVICE as CHANNELZ
from .channelz import add_channelz
from .gate import Gate
from .health import SERVICE as HEALTH
from .health import HealthServicer
from .reflection import add_reflection
from .servicer import ApiServicer
from .sockets import BindError, UnixSocket
from .tls import Tls

_log = logging.getLogger("mlxforge.service.server")

# After the calls have ended: for their last bytes, and for reflection streams left open.
CLOSE_SECONDS = 1.0
# A drain takes at least so long: clients that watch health go elsewhere meanwhile. A call that
# is on its way when the connections close ends with CANCELLED, which no client tries again.
LEAVE_SECONDS = 0.3


class Server:
    """One gRPC server in front of an ``Api``. Used on one asyncio loop."""

    def __init__(self, api: Api, settings: Settings) -> None:
        """Reads tokens and certificates. Raises ``ConfigError``."""
        self._settings = settings
        self._tls = Tls(settings.tls) if settings.tls.enabled else None
        self._sockets: list[UnixSocket] = []
        self._registry = api.registry
        self._gate = Gate(settings.max_concurrent_calls)
        auth = AuthInterceptor(Authenticator(settings.auth), api.methods, api.observer)
        self._grpc = grpc.aio.server(interceptors=(auth,), options=_options(settings))
        self._health = HealthServicer(api.registry, api.services)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        services = [*api.services, HEALTH]
        if settings.telemetry.channelz:
            add_channelz(self._grpc)
            services.append(CHANNELZ)
        add_reflection(self._grpc, services)
        self._grpc.add_generic_rpc_handlers(
            (ApiServicer(api, self._gate, share_prefixes=settings.auth.share_prefixes),)
        )
        self._poll: asyncio.Task[None] | None = None
        self.addresses: list[str] = []
        """What it listens on; a port 0 that was asked for is the real one here."""

    async def start(self) -> None:
        """Listen. Raises ``BindError``, ``ConfigError``. Models may be loaded later."""
        self._settings.check_bind()
        for address in self._settings.address:
            self.addresses.append(self._bind(address))
        await self._grpc.start()
        self._poll = asyncio.create_task(self._health.poll())

    async def drain(self, grace: float) -> None:
        """Turn new calls away, let the running ones finish for ``grace`` seconds, end the rest."""
        started = time.monotonic()
        self._registry.draining = True
        self._health.update()
        _log.info("draining: %d calls have up to %g s", self._gate.active, grace)
        if not await self._gate.drain(grace):
            _log.warning("grace is over: %d calls are ended", self._gate.active)
            await self._gate.expel()
        await self._registry.drain(max(0.0, started + grace - time.monotonic()))
        await asyncio.sleep(max(0.0, started + min(grace, LEAVE_SECONDS) - time.monotonic()))

    async def stop(self) -> None:
        """End what still runs and stop listening."""
        self._registry.draining = True
        self._health.close()
        await self._gate.expel()
        if self._poll is not None:
            self._poll.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poll
        await self._grpc.stop(CLOSE_SECONDS)
        for each in self._sockets:
            each.remove()

    def _bind(self, address: str) -> str:
        if not address.startswith("unix:"):
            return f"{address.rpartition(':')[0]}:{self._add_port(address)}"
        path = UnixSocket(address, self._settings.socket_mode)
        with path.binding():
            self._add_port(address)
        self._sockets.append(path)
        return address

    def _add_port(self, address: str) -> int:
        try:
            # A Unix socket stays in this machine, and its permissions say who may use it.
            if self._tls is None or address.startswith("unix:"):
                return self._grpc.add_insecure_port(address)
            return self._grpc.add_secure_port(address, self._tls.credentials)
        except RuntimeError as error:
            raise BindError(
                f"cannot listen on {address}: is another server running there? "
                f"Choose another with --address"
            ) from error


def _options(settings: Settings) -> list[tuple[str, int]]:
    ping_ms = round(settings.keepalive_seconds * 1000)
    timeout_ms = round(settings.keepalive_timeout_seconds * 1000)
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.server_handshake_timeout_ms", round(settings.handshake_seconds * 1000)),
        # Two servers on one port would share its connections at random.
        ("grpc.so_reuseport", 0),
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
