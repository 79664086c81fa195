"""Where Prometheus scrapes: HTTP, on a thread of its own."""

from __future__ import annotations

from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

# Of a connection: one that says nothing would hold its thread for ever.
REQUEST_SECONDS = 10.0


class MetricsEndpoint:
    """``GET /metrics``; asks nobody for a token, so it listens on this machine by default."""

    def __init__(self, address: str, registry: CollectorRegistry) -> None:
        """Listen on ``host:port``. Raises ``OSError``."""
        host, _, port = address.rpartition(":")
        self._server: WSGIServer
        self._thread: Thread
        self._server, self._thread = start_http_server(
            int(port), host.strip("[]"), registry=registry
        )
        handler: Any = self._server.RequestHandlerClass
        self._server.RequestHandlerClass = type("Handler", (handler,), {"timeout": REQUEST_SECONDS})
        self.address = f"{host}:{self._server.server_port}"
        """``host:port``; a port 0 that was asked for is the real one here."""

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
