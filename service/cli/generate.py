"""``mlxforge generate``: one prompt, one text."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlxforge.v1 import generation_pb2, model_pb2

from . import options, sampling
from .door import Door, call_one, open_door
from .failure import CommandError, ExitCode
from .options import Target
from .printing import print_json, write
from .run import exits, run


def generate(
    prompt: Annotated[
        str,
        typer.Argument(
            metavar="PROMPT", help="The text to answer or continue; `-` reads it from stdin."
        ),
    ],
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Continue the text as it stands, without a chat template."),
    ] = False,
    system: Annotated[
        str, typer.Option("--system", "-s", help="Instruction before the prompt.")
    ] = "",
    max_tokens: sampling.MaxTokens = None,
    temperature: sampling.Temperature = None,
    top_p: sampling.TopP = None,
    seed: sampling.Seed = None,
    stop: sampling.Stop = None,
    json_schema: sampling.JsonSchema = None,
    regex: sampling.Regex = None,
    model: options.Model = "",
    address: options.Address = None,
    embedded: options.Embedded = False,
    timeout: options.Timeout = None,
    as_json: options.Json = False,
) -> None:
    """Generate text from one prompt.

    Models with a chat template answer the prompt, others continue it. The text is printed
    as it comes; with --json the whole answer at the end, with tokens, usage and timings.

    Examples:

        mlxforge generate "What is the capital of France?"

        mlxforge generate --raw "Once upon a time" --max-tokens 40 --temperature 0.8 --seed 7

        mlxforge generate --embedded --json "Name three rivers." | jq .usage

        git diff | mlxforge generate - --system "Write a commit message for this diff."

        mlxforge generate "Invent a person" --json-schema person.json
    """
    with exits(as_json=as_json):
        request = sampling.base_request(
            "" if embedded else model, max_tokens, temperature, top_p, seed, stop
        )
        sampling.constrain(request, json_schema, regex)
        text = sys.stdin.read() if prompt == "-" else prompt
        if raw and system:
            raise CommandError(
                "--system needs a chat template: leave --raw out", code=ExitCode.USAGE
            )
    target = Target(address, embedded, model, timeout=timeout, as_json=as_json)
    run(_generate(target, request, text, system, raw), as_json=as_json)


async def _generate(
    target: Target,
    request: generation_pb2.GenerateRequest,
    prompt: str,
    system: str,
    raw: bool,
) -> None:
    async with open_door(target) as door:
        if raw or not await _has_chat(door, request.model):
            request.prompt = prompt
        else:
            if system:
                request.chat.messages.add(role="system", content=system)
            request.chat.messages.add(role="user", content=prompt)
        if target.as_json:
            print_json(await call_one(door, "GenerationService/Generate", request))
        else:
            await _stream(door, request)


async def _stream(door: Door, request: generation_pb2.GenerateRequest) -> None:
    text = ""
    async for response in door.call("GenerationService/StreamGenerate", request):
        text = response.delta.text or text
        write(response.delta.text)
    if not text.endswith("\n"):
        write("\n")


async def _has_chat(door: Door, model: str) -> bool:
    """Whether the model has a chat template. "" is the default, which generates if any does."""
    request = model_pb2.GetModelRequest(model=model)
    response = await call_one(door, "ModelService/GetModel", request)
    return model_pb2.MODEL_CAPABILITY_CHAT in response.model.capabilities
