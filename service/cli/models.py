"""``mlxforge models``: what can be asked, loaded and unloaded."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from mlxforge.v1 import model_pb2

from ..api.method import closing
from . import options
from .door import call_one, open_door
from .options import Defaults, Target
from .printing import print_json, size, table
from .run import run

models = typer.Typer(
    name="models",
    invoke_without_command=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_STAGE = model_pb2.LoadModelResponse.Stage


@models.callback()
def list_models(
    context: typer.Context,
    address: options.Address = None,
    embedded: options.Embedded = False,
    model: options.Model = "",
    timeout: options.Timeout = 10.0,
    as_json: options.Json = False,
) -> None:
    """List the models of a server: what they can do, their state and limits.

    Examples:

        mlxforge models

        mlxforge models --json | jq '.models[].id'

        mlxforge models --embedded --model ./my-model    # load it here and describe it

        mlxforge models load all-minilm-l6-v2

        mlxforge models unload all-minilm-l6-v2
    """
    if context.invoked_subcommand is not None:
        return
    target = Target(address, embedded, model, Defaults.ALL, timeout, as_json)
    run(_models(target), as_json=as_json)


async def _models(target: Target) -> None:
    async with open_door(target) as door:
        response = await call_one(door, "ModelService/ListModels", model_pb2.ListModelsRequest())
    if target.as_json:
        print_json(response)
        return
    head = ["MODEL", "STATE", "CAN", "CONTEXT", "WEIGHTS", "TYPE"]
    print(table([head, *map(_row, response.models)]))
    for model in response.models:
        if model.error:
            print(f"{model.id}: {model.error}")


@models.command()
def load(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A packaged model, a Hugging Face id, a path on the server's machine, or the id "
            "of a model that the server knows.",
        ),
    ],
    model_id: Annotated[
        str, typer.Option("--id", help="Its name for requests. Default: the last part of MODEL.")
    ] = "",
    pinned: Annotated[bool, typer.Option("--pin", help="Never unload it to make room.")] = False,
    idle_ttl: Annotated[
        int | None,
        typer.Option(
            "--idle-ttl", metavar="SECONDS", help="Unload it after so long without a request."
        ),
    ] = None,
    address: options.Address = None,
    timeout: options.Timeout = None,
    as_json: options.Json = False,
) -> None:
    """Load a model into a running server; Ctrl-C cancels the load.

    What may be loaded is a setting of the server, models.allow.
    """
    request = model_pb2.LoadModelRequest(
        model=source, id=model_id, pinned=pinned, idle_ttl_seconds=idle_ttl
    )
    run(_load(Target(address, timeout=timeout, as_json=as_json), request), as_json=as_json)


@models.command()
def unload(
    model: Annotated[str, typer.Argument(metavar="ID", help="The model's id.")],
    address: options.Address = None,
    timeout: options.Timeout = None,
    as_json: options.Json = False,
) -> None:
    """Unload a model of a running server, once its requests have ended."""
    target = Target(address, timeout=timeout, as_json=as_json)
    run(_unload(target, model_pb2.UnloadModelRequest(model=model)), as_json=as_json)


async def _load(target: Target, request: model_pb2.LoadModelRequest) -> None:
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=target.as_json or not sys.stderr.isatty(),
    )
    async with open_door(target) as door:
        steps = door.call("ModelService/LoadModel", request)
        with bars:
            task = bars.add_task(request.model, total=None)
            async with closing(steps):
                async for step in steps:
                    if target.as_json:
                        print_json(step)
                    stage = _STAGE.Name(step.stage).removeprefix("STAGE_").lower().replace("_", " ")
                    bars.update(
                        task,
                        description=f"{request.model}: {stage}",
                        completed=step.done,
                        total=step.total or None,
                    )
    if not target.as_json:
        print(f"{step.model.id}: ready, {size(step.model.weight_bytes)}")


async def _unload(target: Target, request: model_pb2.UnloadModelRequest) -> None:
    async with open_door(target) as door:
        response = await call_one(door, "ModelService/UnloadModel", request)
    if target.as_json:
        print_json(response)
    else:
        print(f"{request.model}: unloaded, {size(response.freed_bytes)} freed")


def _row(model: model_pb2.Model) -> list[str]:
    capabilities = map(model_pb2.ModelCapability.Name, model.capabilities)
    return [
        f"{model.id} (default)" if model.default else model.id,
        model_pb2.ModelState.Name(model.state).removeprefix("MODEL_STATE_").lower(),
        ", ".join(name.removeprefix("MODEL_CAPABILITY_").lower() for name in capabilities),
        f"{model.limits.max_model_len:,}" if model.limits.max_model_len else "",
        size(model.weight_bytes) if model.weight_bytes else "",
        " ".join(filter(None, (model.architecture, model.dtype))),
    ]
