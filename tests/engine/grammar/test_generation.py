"""Whatever is sampled through the masks of a schema conforms to it."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
import regex
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend

from mlxforge.engine.grammar import GrammarCompiler
from mlxforge.engine.request import Constraint, ConstraintKind

from .walk import walk

SCHEMAS = sorted((Path(__file__).parents[2] / "data" / "schemas").glob("*.json"))
FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def _date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("time", raises=ValueError)
def _time(value: object) -> bool:
    return not isinstance(value, str) or datetime.time.fromisoformat(value).tzinfo is not None


def _pattern(validator: object, pattern: str, value: object, schema: object) -> object:
    """Unicode properties too, which the library's own check does not know."""
    if isinstance(value, str) and not regex.search(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


Validator = extend(Draft202012Validator, {"pattern": _pattern})


def test_there_are_fifty_schemas() -> None:
    assert len(SCHEMAS) == 50


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_random_walks_conform(compiler: GrammarCompiler, path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    grammar = compiler.compile(Constraint(ConstraintKind.JSON_SCHEMA, source))
    validator = Validator(json.loads(source), format_checker=FORMATS)
    finished = 0
    for seed in range(4):
        text = walk(grammar, seed)
        if text is not None:
            finished += 1
            validator.validate(json.loads(text.decode("utf-8")))
    assert finished >= 3
