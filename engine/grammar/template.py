"""Grammars with JSON Schemas in them: the forms of tool calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .json_schema import compile_parts, compile_raw
from .json_schema.errors import Refused

_PLACE = re.compile(r"@(json|raw)([0-9]+)@")


@dataclass(frozen=True, slots=True)
class TemplateSchema:
    """A JSON Schema of a template and the request's field it comes from.

    ``root`` is the pointer, in that field's schema, of what ``source`` is.
    """

    source: str
    field: str
    root: str = "#"


@dataclass(frozen=True, slots=True)
class GrammarTemplate:
    """Lark text in which ``@json0@`` stands for a value of ``schemas[0]``.

    ``@raw0@`` stands for a string of ``schemas[0]`` without its quotes, on one line or more,
    with no ``<`` in it and no white space around it. Both are used as rules.
    """

    lark: str
    schemas: tuple[TemplateSchema, ...]


class TemplateRefused(Refused):
    """A schema of a template is refused; ``index``: which one."""

    def __init__(self, index: int, refusal: Refused) -> None:
        super().__init__(refusal.pointer, refusal.reason)
        self.index = index


def fill(lark: str, sources: Mapping[int, str] | list[str]) -> str:
    """The whole grammar. Raises ``TemplateRefused``, ``TooComplex``."""
    lines: dict[str, None] = {}
    made: dict[tuple[str, int], str] = {}

    def place(match: re.Match[str]) -> str:
        kind, index = match[1], int(match[2])
        if (kind, index) not in made:
            compiled = compile_parts if kind == "json" else compile_raw
            try:
                made[kind, index], more = compiled(sources[index], f"{kind[0]}{index}x")
            except Refused as refusal:
                raise TemplateRefused(index, refusal) from refusal
            lines.update(dict.fromkeys(more))
        return made[kind, index]

    text = _PLACE.sub(place, lark)
    return "\n".join([text.rstrip("\n"), *lines]) + "\n"
