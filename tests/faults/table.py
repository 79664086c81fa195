"""Faults, advisories and the tests that stand for them: ``table.toml``, as it is documented.

``python -m tests.faults.table`` prints what belongs between the marks of docs/reliability.md.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "reliability.md"


@functools.cache
def content() -> dict[str, list[dict[str, Any]]]:
    """The rows of ``table.toml``: ``fault`` and ``advisory``."""
    return tomllib.loads(Path(__file__).with_name("table.toml").read_text(encoding="utf-8"))


def tests_named() -> Iterator[str]:
    """All that are named, as pytest names them, without parameters."""
    for row in content()["fault"] + content()["advisory"]:
        yield from row["tests"]


@functools.cache
def tests_in(path: str) -> frozenset[str]:
    """The functions of a file that pytest takes for tests; none when there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(n.name for n in tree.body if isinstance(n, kinds) and n.name[:5] == "test_")


def exists(test: str) -> bool:
    """Whether there is a test of that name."""
    path, _, name = test.partition("::")
    return name in tests_in(path)


def markdown() -> str:
    """Both tables."""
    lines = ["| # | fault | what holds | tests (`make test`) | stage (`make soak`) |",
             "|---|---|---|---|---|"]  # fmt: skip
    for row in content()["fault"]:
        cells = [str(row["number"]), row["what"], row["holds"], _links(row), row.get("soak", "")]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| advisories | what follows | tests |", "|---|---|---|"]
    for row in content()["advisory"]:
        lines.append(f"| {', '.join(row['ids'])} | {row['lesson']} | {_links(row)} |")
    return "\n".join(lines)


def _links(row: dict[str, Any]) -> str:
    parts = [test.partition("::") for test in row["tests"]]
    return "<br>".join(f"[`{name}`](../{path})" for path, _, name in parts)


if __name__ == "__main__":
    print(markdown())
