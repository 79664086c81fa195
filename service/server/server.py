"""The gRPC server: listens, answers, drains, stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from grpc_health.v1 import health_pb2_grpc

from ..api import Api
from ..config import Settings
from .acceptors import Acceptors
from .auth import Authenticator, AuthInterceptor
from .channelz import SERVICE as CHANNELZ
from .channelz import add_channelz
from .gate import Gate
from .health import SERVICE as HEALTH
from .health import HealthServicer
from .reflection import add_reflection
from .servicer import ApiServicer

_log = logging.getLogger("mlxforge.service.server")

# After the calls have ended: for their last bytes, and for reflection streams left open.
CLOSE_SECONDS = 1.0
# A drain takes at least so long: clients that watch health go elsewhere meanwhile.
LEAVE_SECONDS = 0.3
# A call that is on its way when the connections close ends with CANCELLED, which no client tries
# again: they close once no call has come for so long.
QUIET_SECONDS = 0.1


class Server:
    """One gRPC server in front of an ``Api``. Used on one asyncio loop."""

    def __init__(self, api: Api, settings: Settings) -> None:
        """Reads tokens and certificates. Raises ``ConfigError``."""
        self._settings = settings
        self._registry = api.registry
        self._gate = Gate(settings.max_concurrent_calls)
        auth = AuthInterceptor(Authenticator(settings.auth), api.methods, api.observer)
        self._acceptors = Acceptors(settings, (auth,))
        self._health = HealthServicer(api.registry, api.services)
        services = [*api.services, HEALTH]
        if settings.telemetry.channelz:
            services.append(CHANNELZ)
        servicer = ApiServicer(api, self._gate, share_prefixes=settings.auth.share_prefixes)
        for server in self._acceptors:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
            if settings.telemetry.channelz:
                add_channelz(server)
            add_reflection(server, services)
            server.add_generic_rpc_handlers((servicer,))
        self._poll: asyncio.Task[None] | None = None
        self.addresses: list[str] = []
        """What it listens on; a port 0 that was asked for is the real one here."""

    async def start(self) -> None:
        """Listen. Raises ``BindError``, ``ConfigError``. Models may be loaded later."""
        self._settings.check_bind()
        for address in self._settings.address:
            self.addresses.append(self._acceptors.bind(address))
        await self._acceptors.start()
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
        await self._gate.quiet(QUIET_SECONDS, most=CLOSE_SECONDS)
        await self._acceptors.stop(CLOSE_SECONDS)
