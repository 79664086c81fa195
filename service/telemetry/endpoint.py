"""Where Prometheus scrapes: HTTP, on a thread of its own."""

from __future__ import annotations

from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server


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
        self.address = f"{host}:{self._server.server_port}"
        """``host:port``; a port 0 that was asked for is the real one here."""

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
