"""``mlxforge config``: what a C compiler and a C program need to know of this installation."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

import mlxforge

from ..reference import reference
from . import options

LIBRARY = "lib/libmlxforge.dylib" if sys.platform == "darwin" else "lib/libmlxforge.so"
HEADER = "include/mlxforge.h"


def config(
    cflags: Annotated[bool, typer.Option("--cflags", help="Flags to compile with.")] = False,
    libs: Annotated[bool, typer.Option("--libs", help="Flags to link with.")] = False,
    library: Annotated[bool, typer.Option("--library", help="Path of the library.")] = False,
    python: Annotated[
        bool, typer.Option("--python", help="The interpreter, for MLXFORGE_PYTHON.")
    ] = False,
    settings: Annotated[
        bool, typer.Option("--settings", help="All settings of the server, as Markdown.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Tell a C build where libmlxforge is, or an operator what can be set.

    Examples:

        cc chat.c $(mlxforge config --cflags --libs) -o chat

        mlxforge config --settings

        MLXFORGE_PYTHON=$(mlxforge config --python) ./program    # a library of another place
    """
    if settings:
        print(reference(), end="")
        return
    values = _values(Path(folder) for folder in mlxforge.__path__)
    if as_json:
        print(json.dumps(values))
        return
    asked = {"cflags": cflags, "libs": libs, "library": library, "python": python}
    if not any(asked.values()):
        for name, value in values.items():
            print(f"{name}: {value}")
        return
    print(" ".join(values[name] for name, wanted in asked.items() if wanted))


def _values(folders: Iterable[Path]) -> dict[str, str]:
    """By option. The package may have several folders: sources, and what was built."""
    found = [folder for folder in folders if (folder / LIBRARY).exists()]
    if not found:
        print("libmlxforge is not part of this installation: make capi builds it", file=sys.stderr)
        raise typer.Exit(1)
    library, header = found[0] / LIBRARY, found[0] / HEADER
    folder = _quoted(library.parent)
    return {
        "cflags": f"-I{_quoted(header.parent)}",
        "libs": f"-L{folder} -lmlxforge -Wl,-rpath,{folder}",
        "library": str(library),
        "python": sys.executable,
    }


def _quoted(path: Path) -> str:
    """A path in a compiler's flags, where the shell splits at spaces."""
    return str(path).replace(" ", "\\ ")
