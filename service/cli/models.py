"""``mlxforge models``: what can be asked."""

from __future__ import annotations

from mlxforge.v1 import model_pb2

from . import options
from .door import call_one, open_door
from .options import Defaults, Target
from .printing import print_json, size, table
from .run import run


def models(
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
    """
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
