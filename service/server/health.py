"""``grpc.health.v1.Health`` over the registry's state.

Not ``grpc_health``'s own servicer: that one writes to its watchers under the lock that a
change of state needs, so one client that stops reading would freeze the state for all,
and it does not answer ``List``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mlxforge.engine.output import Capability

from ..registry import Registry

SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
MODEL = "model/"
"""Before a model's id: the name by which its own state is asked for."""
POLL_SECONDS = 0.25
"""How often engines are asked whether they are healthy; changes of state are told."""

_CAPABILITIES = {
    "mlxforge.v1.GenerationService": Capability.GENERATE,
    "mlxforge.v1.EmbeddingService": Capability.EMBED,
}
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Says of each service whether a model behind it serves; of "", whether all is well.

    "" serves when some model serves and none is still to be loaded at start. A model that is
    loaded when it is asked for serves. ``model/ID`` is the state of one model; those names are
    not listed, since health may be asked for without a token and ids may not be everybody's.
    """

    def __init__(self, registry: Registry, services: list[str]) -> None:
        self._registry = registry
        self._services = services
        self._changed = asyncio.Event()
        self._statuses = self._current()
        self._closed = False
        registry.listeners.append(self.update)

    def update(self) -> None:
        """Look at the registry again and tell the watchers what changed."""
        statuses = self._current()
        if statuses != self._statuses:
            self._statuses = statuses
            self._notify()

    async def poll(self) -> None:
        """Update for ever: an engine's death changes no state of the registry."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.update()

    def close(self) -> None:
        """End all watches, so that they do not hold up the server's end."""
        self._closed = True
        self._notify()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> health_pb2.HealthCheckResponse:
        """The state of one service."""
        self.update()
        status = self._statuses.get(request.service)
        if status is None:
            known = ", ".join(name or "(empty)" for name in self._listed)
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no such service; there are: {known}, {MODEL}ID"
            )
        return health_pb2.HealthCheckResponse(status=status)

    async def List(
        self,
        request: Any,  # HealthListRequest, which the stubs do not have yet
        context: Any,
    ) -> Any:
        """The state of all services."""
        self.update()
        return health_pb2.HealthListResponse(  # type: ignore[attr-defined]  # nor this
            statuses={
                name: health_pb2.HealthCheckResponse(status=status)
                for name, status in self._listed.items()
            }
        )

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        """The state of one service, now and whenever it changes."""
        last: int | None = None
        while not self._closed:
            changed = self._changed
            status = self._statuses.get(request.service, _UNKNOWN)
            if status != last:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                last = status
            await changed.wait()

    @property
    def _listed(self) -> dict[str, Any]:
        return {n: status for n, status in self._statuses.items() if not n.startswith(MODEL)}

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _current(self) -> dict[str, Any]:
        models = list(self._registry)
        starting = any(m.starting for m in models)
        up = not self._registry.draining
        serving = [m for m in models if m.serving or m.dormant]
        ready = {"": bool(serving) and not starting}
        for name in self._services:
            capability = _CAPABILITIES.get(name)
            ready[name] = capability is None or any(m.can(capability) for m in serving)
        ready |= {MODEL + m.id: m.serving or m.dormant for m in models}
        return {name: _SERVING if up and ok else _NOT_SERVING for name, ok in ready.items()}
