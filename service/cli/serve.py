"""``mlxforge serve``: the server."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mlxforge.engine.errors import LoadError

from ..config import ConfigError, Settings, load_settings
from ..models import open_registry
from ..registry import ModelEntry, Registry
from ..server import BindError
from ..server.run import Reporter
from ..server.run import run as run_server
from ..telemetry.logs import set_up_logging
from .failure import CommandError, ExitCode
from .options import Json
from .progress import LoadProgress
from .run import exits


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Hugging Face ids, folders or `.gguf` files, as `id=model` to choose the name. "
            "Default: the small models that come as packages.",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(
            "--address",
            "-a",
            metavar="HOST:PORT|unix:PATH",
            help="Where to listen; may be given again. Default: 127.0.0.1:50051.",
            show_default=False,
        ),
    ] = None,
    allow_insecure_bind: Annotated[
        bool | None,
        typer.Option(
            "--allow-insecure-bind",
            help="Listen beyond this machine without TLS and tokens, for anyone to use.",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(
            "--grace",
            metavar="SECONDS",
            help="How long running calls may go on after SIGTERM. Default: 30.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file. Default: ./mlxforge.toml, if it exists."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting, as engine.max_running_requests=64; may be given again.",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            "--log-level", help="debug, info, warning or error. Default: info.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve models over gRPC until SIGTERM or Ctrl-C.

    Flags go before MLXFORGE_* variables, those before mlxforge.toml. The first signal
    lets running calls finish (--grace), a second one ends them; both exit with 0.

    Examples:

        mlxforge serve

        mlxforge serve mlx-community/Qwen3-4B-4bit ./my-model embed=all-minilm-l6-v2

        mlxforge serve --address unix:/tmp/mlxforge.sock --set limits.max_n=4

        mlxforge serve --config production.toml --log-level warning
    """
    flags: dict[str, Any] = {
        "model": models or None,
        "address": address or None,
        "allow_insecure_bind": allow_insecure_bind,
        "grace_seconds": grace,
        "log_level": log_level,
    }
    with exits(as_json=as_json):
        try:
            settings = load_settings(flags, assignments or (), file=config)
            set_up_logging(settings.log_level, settings.log_format)
            asyncio.run(_serve(settings, as_json))
        except (ConfigError, BindError) as error:
            raise CommandError(str(error), code=ExitCode.USAGE) from error
        except LoadError as error:
            raise CommandError(
                error.message,
                "name a Hugging Face id, a folder or a .gguf file: mlxforge serve MODEL",
                ExitCode.NO_MODEL,
            ) from error


async def _serve(settings: Settings, as_json: bool) -> None:
    bars = LoadProgress(quiet=as_json)
    # What is imported stays: looking through it for garbage stops all streams for 50 ms.
    gc.freeze()
    registry = open_registry(settings, bars.of, workers=settings.worker.enabled)
    await run_server(settings, registry, Lines() if as_json else _Terminal(bars, settings))


class Lines(Reporter):
    """For programs: one JSON object a line on stdout."""

    def listening(self, addresses: list[str]) -> None:
        """See ``Reporter``."""
        self._print("listening", addresses=addresses)

    def loaded(self, entry: ModelEntry) -> None:
        """See ``Reporter``."""
        self._print("loaded", model=entry.id, state=entry.state.value, error=entry.error)

    def ready(self, registry: Registry, addresses: list[str]) -> None:
        """See ``Reporter``."""
        models = [entry.id for entry in registry if entry.serving]
        self._print("ready", addresses=addresses, models=models)

    def _print(self, event: str, **fields: object) -> None:
        print(json.dumps({"event": event, **fields}), flush=True)


class _Terminal(Reporter):
    """For people: progress bars, then what is served and how to ask."""

    def __init__(self, bars: LoadProgress, settings: Settings) -> None:
        self._bars = bars
        self._settings = settings

    def listening(self, addresses: list[str]) -> None:
        print(f"listening on {', '.join(addresses)}, loading models", flush=True)
        self._bars.__enter__()

    def loaded(self, entry: ModelEntry) -> None:
        print(f"{entry.id}: {entry.error or entry.state.value}", flush=True)

    def ready(self, registry: Registry, addresses: list[str]) -> None:
        self._bars.close()
        models = ", ".join(entry.id for entry in registry if entry.serving)
        hint = _try_it(addresses[0], self._settings)
        print(f"ready: {models} on {', '.join(addresses)}\n{hint}", flush=True)


def _try_it(address: str, settings: Settings) -> str:
    """How to ask a first question, in another shell."""
    request = '{"prompt":"The capital of France is","max_tokens":16}'
    method = "mlxforge.v1.GenerationService/StreamGenerate"
    secure = settings.tls.enabled
    lines = [f"  mlxforge chat --address {address}" + (" --ca CERTIFICATE" if secure else "")]
    if not (secure or address.startswith("unix:")):
        lines.append(f"  grpcurl -plaintext -d '{request}' {address} {method}")
    note = ", with MLXFORGE_TOKEN set" if settings.auth.enabled else ""
    return f"try, in another shell{note}:\n" + "\n".join(lines)
