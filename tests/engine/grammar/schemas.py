"""The fifty schemas of tests/data/schemas, and how their answers are checked."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import regex
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend

PATHS = sorted((Path(__file__).parents[2] / "data" / "schemas").glob("*.json"))
_FORMATS = FormatChecker()


@_FORMATS.checks("date-time", raises=ValueError)
def _date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.datetime.fromisoformat(value).tzinfo is not None


@_FORMATS.checks("time", raises=ValueError)
def _time(value: object) -> bool:
    return not isinstance(value, str) or datetime.time.fromisoformat(value).tzinfo is not None


def _pattern(
    validator: object, pattern: str, value: object, schema: object
) -> Iterator[ValidationError]:
    """Unicode properties too, which the library's own check does not know."""
    if isinstance(value, str) and not regex.search(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


# types-jsonschema gives extend no types.
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _pattern}
)


def validate(source: str, text: str) -> None:
    """Raise unless ``text`` is JSON that conforms to the schema ``source``, formats included."""
    _Validator(json.loads(source), format_checker=_FORMATS).validate(json.loads(text))
