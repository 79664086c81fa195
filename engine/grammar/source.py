"""Constraints to llguidance's Lark text."""

from __future__ import annotations

from llguidance import LLMatcher

from mlxforge.engine.request import Constraint, ConstraintKind

from . import lark
from .json_schema import compile_schema

_ANY_OBJECT = '{"type": "object"}'


def grammar_source(constraint: Constraint) -> str:
    """The grammar of a constraint, not yet checked. Raises ``Refused``, ``TooComplex``."""
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
