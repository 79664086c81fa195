"""Constraints to llguidance's Lark text."""

from __future__ import annotations

from llguidance import LLMatcher

from mlxforge.engine.request import Constraint, ConstraintKind

from . import lark
from .json_schema import compile_schema

_ANY_OBJECT = '{"type": "object"}'


# A terminal of more characters may force very long texts at once, which are encoded anew at
# every step until they are written.
_LONG_LINE = 16_384


def grammar_source(constraint: Constraint) -> str:
    """The grammar of a constraint, not yet checked. Raises ``Refused``, ``TooComplex``."""
    source = _source(constraint)
    if (
        constraint.kind is not ConstraintKind.GRAMMAR
        and len(source) > _LONG_LINE
        and (max(map(len, source.split("\n"))) > _LONG_LINE)
    ):
        return f'%llguidance {{"no_forcing": true}}\n{source}'
    return source


def _source(constraint: Constraint) -> str:
    match constraint.kind:
        case ConstraintKind.CHOICE:
            return lark.choice(constraint.choices)
        case ConstraintKind.REGEX:
            return str(LLMatcher.grammar_from_regex(constraint.source))
        case ConstraintKind.GRAMMAR:
            return str(LLMatcher.grammar_from_lark(constraint.source))
        case ConstraintKind.JSON_OBJECT:
            return compile_schema(_ANY_OBJECT)
        case ConstraintKind.JSON_SCHEMA:
            return compile_schema(constraint.source)
