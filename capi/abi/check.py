# ruff: noqa: T201 - a command
"""Whether the ABI has only grown: ``python capi/abi/check.py LIBRARY [--update]``.

``baseline.json`` holds every function, type and constant that was ever released. They are
declared once more behind the current header and given to the C compiler, which refuses any that
has changed; and the library must export each function of the baseline and nothing but functions
of the header. ``--update`` records additions, once the check has passed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypedDict

HERE = Path(__file__).resolve().parent
HEADER = HERE.parent / "include" / "mlxforge.h"
BASELINE = HERE / "baseline.json"

# The header defines no structs, on purpose: what is asked travels in messages.
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_FUNCTION = re.compile(r"MLXFORGE_API\s+([^;]+?\b(mlxforge_\w+)\s*\([^;]*\))\s*;")
_CALLBACK = re.compile(r"^typedef\s+[^;{]*\(\*(mlxforge_\w+)\)[^;]*;", re.M)
_HANDLE = re.compile(r"^typedef\s+struct\s+(\w+)\s+\1\s*;", re.M)
_ENUM = re.compile(r"^typedef\s+enum\s+(\w+)\s*\{(.*?)\}\s*\1\s*;", re.M | re.S)
_ENUMERATOR = re.compile(r"\b(MLXFORGE_\w+)\s*=\s*(-?\d+)")
_CONSTANT = re.compile(r"^#define\s+(MLXFORGE_\w+)\s+(-?\d+)", re.M)
_STRUCT = re.compile(r"\bstruct\s+\w*\s*\{")


class Abi(TypedDict):
    """What a header promises. Values are C declarations, or numbers."""

    functions: dict[str, str]
    types: dict[str, str]
    enums: dict[str, dict[str, int]]
    constants: dict[str, int]


def read_header(text: str) -> Abi:
    """The promises of a header's text. Raises ``ValueError`` on a struct with members."""
    text = _COMMENT.sub(" ", text)
    if _STRUCT.search(text):
        raise ValueError("the header defines a struct with members: its layout would be for good")
    types = {m[1]: m[0] for pattern in (_CALLBACK, _HANDLE) for m in pattern.finditer(text)}
    return {
        "functions": {m[2]: _one_line(m[1]) for m in _FUNCTION.finditer(text)},
        "types": {name: _one_line(declaration) for name, declaration in types.items()},
        "enums": {
            m[1]: {e[1]: int(e[2]) for e in _ENUMERATOR.finditer(m[2])}
            for m in _ENUM.finditer(text)
        },
        "constants": {m[1]: int(m[2]) for m in _CONSTANT.finditer(text)},
    }


def compatibility_source(baseline: Abi, header: Path) -> str:
    """C that compiles if all the baseline says still holds.

    A constant may grow when it is a limit or the version: only then do old programs still work.
    """
    asserts = [
        f"{name} == {value}"
        for values in baseline["enums"].values()
        for name, value in values.items()
    ]
    asserts += [f"sizeof({name}) == sizeof(int)" for name in baseline["enums"]]
    asserts += [
        f"{name} {'>=' if 'MAX_' in name or 'VERSION' in name else '=='} {value}"
        for name, value in baseline["constants"].items()
    ]
    return "\n".join(
        [
            f'#include "{header}"',
            *baseline["types"].values(),
            *(f"{prototype};" for prototype in baseline["functions"].values()),
            *(f'_Static_assert({a}, "{a}");' for a in asserts),
            "",
        ]
    )


def check(baseline: Abi, header: Path, exported: set[str]) -> list[str]:
    """What is broken; empty when nothing is."""
    problems = _compile(compatibility_source(baseline, header))
    now = read_header(header.read_text("utf-8"))
    problems += [f"{name} is not exported" for name in now["functions"] if name not in exported]
    problems += [f"{name} is gone" for name in baseline["functions"] if name not in exported]
    stray = sorted(exported - set(now["functions"]))
    return problems + [f"{name} is exported but not in the header" for name in stray]


def exported_symbols(library: Path) -> set[str]:
    """The symbols that programs can bind to."""
    darwin = sys.platform == "darwin"
    options = ["-gU"] if darwin else ["--dynamic", "--defined-only"]
    shown = subprocess.run(
        ["nm", *options, str(library)], capture_output=True, text=True, check=True
    ).stdout
    fields = [line.split() for line in shown.splitlines()]
    names = [f[-1].partition("@")[0] for f in fields if len(f) == 3 and f[1] != "A"]
    return {name.removeprefix("_") if darwin else name for name in names}


def _compile(source: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "compatibility.c"
        file.write_text(source, "utf-8")
        done = subprocess.run(
            ["cc", "-std=c11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", str(file)],
            capture_output=True,
            text=True,
        )
    return [line.partition(": ")[2] for line in done.stderr.splitlines() if "error" in line]


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("( ", "(")


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("--update", action="store_true", help="record additions")
    arguments = parser.parse_args()
    now = read_header(HEADER.read_text("utf-8"))
    baseline: Abi = json.loads(BASELINE.read_text("utf-8")) if BASELINE.exists() else now
    problems = check(baseline, HEADER, exported_symbols(arguments.library))
    for problem in problems:
        print(f"ABI: {problem}", file=sys.stderr)
    if problems:
        return 1
    if now != baseline or not BASELINE.exists():
        if not arguments.update:
            print("ABI: additions are not recorded yet: run capi/abi/check.py with --update")
            return 0
        BASELINE.write_text(json.dumps(now, indent=2) + "\n", "utf-8")
    print(f"ABI: {len(now['functions'])} functions, compatible")
    return 0


if __name__ == "__main__":
    sys.exit(main())
