"""Settings of what a server shows of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Prometheus metrics over HTTP."""

    address: str = ""
    """Where they can be scraped, as `127.0.0.1:9464`. Empty: nowhere."""


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """OpenTelemetry traces and gRPC's channelz."""

    otlp_endpoint: str = ""
    """Where spans go over OTLP/gRPC, as `http://127.0.0.1:4317`. Empty: as the standard
    OTEL_EXPORTER_OTLP_* variables say; nowhere without them."""
    channelz: bool = False
    """Serve grpc.channelz.v1: every connection and call counter of this process."""
