"""The table of all settings, from the classes that hold them: docs/configuration.md."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Collection, Iterator
from typing import Any

from .config import Settings

_INTRODUCTION = """\
# Configuration

Every setting of the server, with its default. `mlxforge config --settings` prints this page.

A setting has one name everywhere. `limits.max_n` is a key of the table `[limits]` in
`mlxforge.toml` (or in the file of `--config` or `MLXFORGE_CONFIG`), `MLXFORGE_LIMITS_MAX_N` in the
environment, `--set limits.max_n=4` on the command line, and a key of the object `limits` in the C
library's `config_json`. The command line goes before the environment, that before the file. In the
environment and in `--set`, lists are separated by commas, and `none` unsets. Sizes are in bytes,
times in seconds.
"""


def reference() -> str:
    """Markdown."""
    hints = typing.get_type_hints(Settings)
    groups = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    parts = [_INTRODUCTION, _table(Settings, "", skip=groups)]
    docs = _docs(Settings)
    for name, group in groups.items():
        parts.append(f"## {name}\n\n{docs.get(name, '')}\n\n{_table(group, name + '.')}")
    return "\n".join(parts)


def _table(cls: Any, prefix: str, skip: Collection[str] = ()) -> str:
    docs, defaults = _docs(cls), cls()
    rows = ["| setting | default | |", "|---|---|---|"]
    for field in dataclasses.fields(cls):
        if field.name not in skip:
            text = docs.get(field.name, "").replace("|", "\\|")
            value = _shown(getattr(defaults, field.name))
            rows.append(f"| `{prefix}{field.name}` | {value} | {text} |")
    return "\n".join(rows) + "\n"


def _shown(value: object) -> str:
    if value in (None, (), ""):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{', '.join(map(str, value))}`"
    return f"`{value}`"


def _docs(cls: type) -> dict[str, str]:
    """What stands at each field: the text below it, or the comment above."""
    source = textwrap.dedent(inspect.getsource(cls))
    [tree] = ast.parse(source).body
    lines = source.splitlines()
    found: dict[str, str] = {}
    body = getattr(tree, "body", [])
    for node, below in zip(body, [*body[1:], None], strict=True):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        text = " ".join(reversed(list(_comment_above(lines, node.lineno - 1))))
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            text = str(below.value.value)
        found[node.target.id] = " ".join(text.split())
    return found


def _comment_above(lines: list[str], index: int) -> Iterator[str]:
    while index > 0 and lines[index - 1].strip().startswith("#"):
        index -= 1
        yield lines[index].strip().removeprefix("#").strip()
