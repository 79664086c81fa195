"""``mlxforge top``: what a running server does, live."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections import deque
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from mlxforge.v1 import model_pb2

from . import options
from .door import call_one, open_door
from .failure import CommandError, ExitCode
from .options import Target
from .printing import size, table
from .run import exits
from .scrape import ModelView, Scrape, fetch, views

DEFAULT_METRICS = "http://127.0.0.1:9464/metrics"
_TIMEOUT = 5.0
# Latencies are those of the last so many seconds.
_WINDOW_SECONDS = 30.0

_COLUMNS = (
    *("MODEL", "STATE", "RUN", "WAIT", "REQ/S", "TOK/S IN", "TOK/S OUT"),
    *("TTFT P50", "TTFT P99", "ITL P50", "ITL P99", "CACHE HITS", "KV", "MEMORY", "RESTARTS"),
)


def top(
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="URL",
            help=f"The server's metrics. Default: {DEFAULT_METRICS}.",
            show_default=False,
        ),
    ] = None,
    address: options.Address = None,
    interval: Annotated[
        float, typer.Option("--interval", "-i", metavar="SECONDS", min=0.1, help="Between updates.")
    ] = 1.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print one reading, of one interval, and exit.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show what a running server does: requests, tokens, latencies, memory, restarts.

    Reads the server's metrics, which it has with `--set metrics.address=127.0.0.1:9464`.
    A server without them tells its models and their states only. Latencies are of the last
    30 seconds, with --once of all since the server's start. TTFT: time to first token; ITL:
    inter-token latency.

    Examples:

        mlxforge top

        mlxforge top --once --json | jq '.models[].generation_tokens_per_second'

        mlxforge top --metrics http://gpu-1:9464/metrics --interval 5
    """
    url = metrics or DEFAULT_METRICS
    with exits(as_json=as_json):
        try:
            first = fetch(url, _TIMEOUT)
        except (OSError, ValueError) as error:
            if metrics is not None:
                raise CommandError(
                    f"cannot read {url}: {error}",
                    "does the server run with --set metrics.address=HOST:PORT?",
                    ExitCode.UNAVAILABLE,
                ) from error
            _without_metrics(address, interval, once=once, as_json=as_json)
            return
        _with_metrics(url, first, interval, once=once, as_json=as_json)


def _with_metrics(url: str, first: Scrape, interval: float, *, once: bool, as_json: bool) -> None:
    if once:
        time.sleep(interval)
        later = fetch_again(url)
        _print(views(first, later, None), as_json=as_json)
        return
    past = deque([first])

    def update() -> list[ModelView]:
        later = fetch_again(url)
        while len(past) > 1 and later.time - past[0].time > _WINDOW_SECONDS:
            past.popleft()
        rows = views(past[-1], later, past[0])
        past.append(later)
        return rows

    if as_json:
        while True:
            time.sleep(interval)
            _print(update(), as_json=True)
    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                shown: RenderableType = _live(update(), console.width)
            except CommandError as error:  # a busy or starting server answers again
                shown = f"{error.message}; asking again"
            live.update(shown, refresh=True)
            time.sleep(interval)


def fetch_again(url: str) -> Scrape:
    """A further reading. Raises ``CommandError`` when the server has gone."""
    try:
        return fetch(url, _TIMEOUT)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"no answer from {url}: {error}", "try again in a moment", ExitCode.UNAVAILABLE
        ) from error


def _without_metrics(address: str | None, interval: float, *, once: bool, as_json: bool) -> None:
    """The models and their states, which every server tells."""
    target = Target(address=address, timeout=_TIMEOUT)

    async def models() -> list[model_pb2.Model]:
        async with open_door(target) as door:
            request = model_pb2.ListModelsRequest()
            response = await call_one(door, "ModelService/ListModels", request)
        return list(response.models)

    while True:
        rows = [
            {
                "model": model.id,
                "state": model_pb2.ModelState.Name(model.state)
                .removeprefix("MODEL_STATE_")
                .lower(),
            }
            for model in asyncio.run(models())
        ]
        if as_json:
            print(json.dumps({"metrics": False, "models": rows}), flush=True)
        else:
            for row in rows:
                print(f"{row['model']}: {row['state']}", flush=True)
            print("more with metrics: mlxforge serve --set metrics.address=127.0.0.1:9464")
        if once:
            return
        time.sleep(interval)


def _print(rows: list[ModelView], *, as_json: bool) -> None:
    if as_json:
        models = [dataclasses.asdict(row) for row in rows]
        print(json.dumps({"metrics": True, "models": models}), flush=True)
    else:
        print(table(_cells(rows)), flush=True)


def _live(rows: list[ModelView], width: int) -> RenderableType:
    """A row for each model, a column where the terminal is too narrow for that."""
    cells = _cells(rows)
    if width < len(table(cells).partition("\n")[0]):
        cells = [list(column) for column in zip(*cells, strict=True)]
    [head, *lines] = cells
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(head):
        shown.add_column(name, justify="right" if number else "left")
    for line in lines:
        shown.add_row(*line)
    return shown


def _cells(rows: list[ModelView]) -> list[list[str]]:
    return [list(_COLUMNS), *map(_row, rows)]


def _row(row: ModelView) -> list[str]:
    hits = row.prefix_cache_hit_rate
    return [
        row.model,
        row.state,
        str(row.running),
        str(row.waiting),
        f"{row.requests_per_second:,.1f}",
        f"{row.prompt_tokens_per_second:,.0f}",
        f"{row.generation_tokens_per_second:,.0f}",
        _duration(row.time_to_first_token_p50),
        _duration(row.time_to_first_token_p99),
        _duration(row.inter_token_latency_p50),
        _duration(row.inter_token_latency_p99),
        "-" if hits is None else f"{hits:.0%}",
        f"{size(row.kv_cache_used_bytes)} / {size(row.kv_cache_total_bytes)}",
        size(row.memory_active_bytes),
        str(row.worker_restarts),
    ]


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
