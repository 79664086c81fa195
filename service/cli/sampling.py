"""Options that say how text is generated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mlxforge.v1 import generation_pb2

from .failure import CommandError, ExitCode

MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", "-n", min=1, help="Most tokens to generate.", show_default=False),
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", "-t", help="0 = always the likeliest token.", show_default=False),
]
TopP = Annotated[
    float | None,
    typer.Option(
        "--top-p", help="Draw from the tokens that make up this probability.", show_default=False
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="Makes the answer repeatable.", show_default=False),
]
Stop = Annotated[
    list[str] | None,
    typer.Option("--stop", help="End before this text; may be given again.", show_default=False),
]
JsonSchema = Annotated[
    Path | None,
    typer.Option(
        "--json-schema", help="File with a JSON Schema the text must fit.", show_default=False
    ),
]
Regex = Annotated[
    str | None,
    typer.Option("--regex", help="Regular expression the text must fit.", show_default=False),
]


def base_request(
    model: str,
    max_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    seed: int | None,
    stop: list[str] | None,
) -> generation_pb2.GenerateRequest:
    """A request with these options and no input yet. Its values the server checks."""
    request = generation_pb2.GenerateRequest(model=model, max_tokens=max_tokens, stop=stop)
    for name, value in (("temperature", temperature), ("top_p", top_p), ("seed", seed)):
        if value is not None:
            setattr(request.sampling_params, name, value)
    return request


def constrain(
    request: generation_pb2.GenerateRequest, json_schema: Path | None, regex: str | None
) -> None:
    """Add what the text must fit. Raises ``CommandError``."""
    if json_schema is not None and regex is not None:
        raise CommandError("give one of --json-schema and --regex", code=ExitCode.USAGE)
    if regex is not None:
        request.regex = regex
    if json_schema is not None:
        try:
            text = json_schema.read_text(encoding="utf-8")
            json.loads(text)
        except OSError as error:
            message = f"cannot read {json_schema}: {error.strerror}"
            raise CommandError(message, code=ExitCode.USAGE) from error
        except ValueError as error:
            message = f"{json_schema} is not JSON: {error}"
            raise CommandError(message, code=ExitCode.USAGE) from error
        request.json_schema = text
