"""The command line. A further command is a function in a module of its own, added here."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from typing import Annotated, Any

import typer

from .chat import chat
from .config import config
from .connection import connecting, connecting_all
from .embed import embed
from .failure import EXIT_CODES_HELP
from .generate import generate
from .models import models
from .serve import serve
from .top import top
from .version import installed, version

app = typer.Typer(
    name="mlxforge",
    help=(
        "Serve language models on MLX, many requests at once, and ask them.\n\n"
        "Start with `mlxforge serve`, then `mlxforge chat` in another shell; or, without a "
        "server, `mlxforge chat --embedded`."
    ),
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if show_version:
        print(f"mlxforge {installed('mlxforge')}")
        raise typer.Exit()


COMMANDS: tuple[Any, ...] = (serve, generate, chat, embed, models, top, config, version)

for command in COMMANDS:
    if isinstance(command, typer.Typer):  # one with commands of its own
        app.add_typer(connecting_all(command))
    else:
        app.command()(connecting(command))


def main() -> None:
    """The console command ``mlxforge``."""
    code: object = 1
    try:
        app(prog_name="mlxforge")
    except SystemExit as exit_:
        code = exit_.code or 0
    except BaseException:
        traceback.print_exc()
    # MLX's and gRPC's threads outlive the interpreter's end, where a thread that comes back
    # to Python is unwound through C++ and aborts the process: so there is no such end.
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)
