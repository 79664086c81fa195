"""Options that several commands share."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated

import typer

from ..config import DEFAULT_ADDRESS

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        "-a",
        metavar="HOST:PORT|unix:PATH",
        help=f"The server to ask (MLXFORGE_ADDRESS, else {DEFAULT_ADDRESS}).",
        show_default=False,
    ),
]
Embedded = Annotated[
    bool,
    typer.Option(
        "--embedded", "-e", help="Run the model in this process instead of asking a server."
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Id of a model of the server; with --embedded a Hugging Face id, a folder or a "
        "`.gguf` file. Default: the server's, or the small model that comes as a package.",
        show_default=False,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="Give up after so long.", min=0.001),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs, errors on stderr, too.")
]


class Defaults(enum.Enum):
    """Which of the default models a command needs, when none is named."""

    GENERATING = 0
    EMBEDDING = 1
    ALL = 2


@dataclass(frozen=True, slots=True)
class Target:
    """Which door to open, and how."""

    address: str | None = None
    embedded: bool = False
    model: str = ""
    """For the embedded door: what to load."""
    defaults: Defaults = Defaults.GENERATING
    """For the embedded door."""
    timeout: float | None = None
    as_json: bool = False
