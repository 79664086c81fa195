"""All that watches a server's calls, as its settings ask for."""

from __future__ import annotations

import logging

from ..api.observer import CallEnd, CallObserver, OutputWatch
from ..api.request_log import RequestLog
from ..config import Settings
from ..registry import Registry
from ..server.sockets import BindError
from .endpoint import MetricsEndpoint
from .metrics import Metrics
from .traces import Traces, traces_wanted

_log = logging.getLogger("mlxforge.service.telemetry")


class Telemetry:
    """Implements ``CallObserver`` by all of them. Used on one loop."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        """Raises ``ConfigError`` when traces are wanted and cannot be."""
        self._address = settings.metrics.address
        self._metrics = Metrics(registry) if self._address else None
        endpoint = settings.telemetry.otlp_endpoint
        self._traces = Traces.over_otlp(endpoint) if traces_wanted(endpoint) else None
        observers = (RequestLog(prompts=settings.log_prompts), self._metrics, self._traces)
        self._observers: list[CallObserver] = [o for o in observers if o is not None]
        self._endpoint: MetricsEndpoint | None = None

    @property
    def metrics_address(self) -> str:
        """Where metrics are served, as ``host:port``; "": nowhere."""
        return self._endpoint.address if self._endpoint is not None else ""

    def start(self) -> None:
        """Serve the metrics. Raises ``BindError``."""
        if self._metrics is None:
            return
        try:
            self._endpoint = MetricsEndpoint(self._address, self._metrics.prometheus)
        except OSError as error:
            raise BindError(
                f"cannot serve metrics on {self._address}: {error.strerror or error}. Choose "
                "another with --set metrics.address=HOST:PORT"
            ) from error
        _log.info("metrics are on http://%s/metrics", self._endpoint.address)

    def close(self) -> None:
        """Serve no more, and send the spans that are left."""
        if self._endpoint is not None:
            self._endpoint.close()
        if self._traces is not None:
            self._traces.close()

    def outputs(self, model_id: str) -> OutputWatch | None:
        """See ``CallObserver.outputs``: of all observers, only metrics want them."""
        return self._metrics.outputs(model_id) if self._metrics is not None else None

    def ended(self, end: CallEnd) -> None:
        """See ``CallObserver.ended``."""
        for observer in self._observers:
            observer.ended(end)
