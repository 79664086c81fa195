"""The command line. A further command is a function in a module of its own, added here."""

from __future__ import annotations

from typing import Any

import typer

from .chat import chat
from .failure import EXIT_CODES_HELP
from .generate import generate
from .models import models
from .serve import serve
from .version import version

app = typer.Typer(
    name="mlxforge",
    help=(
        "Serve language models on MLX, many requests at once, and ask them.\n\n"
        "Start with `mlxforge serve`, then `mlxforge chat` in another shell; or, without a "
        "server, `mlxforge chat --embedded`."
    ),
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: tuple[Any, ...] = (serve, generate, chat, models, version)

for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """The console command ``mlxforge``."""
    app(prog_name="mlxforge")
