"""Runs a command's coroutine and turns its failure into a line and an exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from .failure import CommandError, ExitCode, report


def run(command: Coroutine[Any, Any, None], *, as_json: bool = False) -> None:
    """Run to the end. Exits with the error's code when it fails."""
    with exits(as_json=as_json):
        asyncio.run(command)


@contextmanager
def exits(*, as_json: bool = False) -> Iterator[None]:
    """Turns errors into exits."""
    try:
        yield
    except CommandError as error:
        report(error, as_json=as_json)
        raise typer.Exit(error.code) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(ExitCode.INTERRUPTED) from error
    except BrokenPipeError as error:
        # The reader has gone, as in `mlxforge models | head`. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitCode.FAILED) from error
