"""Keywords about kinds, single values, numbers and strings."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .errors import BadPattern
from .expander import Keyword
from .formats import FORMATS, number_format, string_format
from .numbers import Bound, NumberSet
from .pattern import parse
from .shapes import (
    ANYTHING,
    KINDS,
    ArraySet,
    Branch,
    Formula,
    KeySet,
    ObjectSet,
    of_kind,
    others_than,
    restrict,
)
from .strings import StringSet

if TYPE_CHECKING:
    from .keywords import Keywords

_TYPES = {
    "null": {"null"}, "boolean": {"true", "false"}, "number": {"number"}, "integer": {"number"},
    "string": {"string"}, "array": {"array"}, "object": {"object"},
}  # fmt: skip
_MAX_LENGTH = 1_000_000


def scalar_keywords(keywords: Keywords) -> Iterator[Keyword]:
    """All keywords of a schema that this module knows."""
    schema = keywords.schema
    if "type" in schema:
        yield _type(schema["type"])
    for name in ("const", "enum"):
        if name in schema:
            yield _values(keywords, [schema["const"]] if name == "const" else schema["enum"])
    for name in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        if name in schema:
            yield _bound(name, schema[name])
    if "multipleOf" in schema:
        yield _multiple(keywords, schema["multipleOf"])
    for name in ("minLength", "maxLength"):
        if name in schema:
            yield _length(keywords, name, int(schema[name]))
    if "pattern" in schema:
        yield _pattern(keywords, schema["pattern"])
    if "format" in schema:
        yield _format(keywords, schema["format"])


def _fixed(holds: list[Branch], fails: list[Branch]) -> Keyword:
    return Keyword(lambda: holds, lambda: fails)


def _type(types: str | list[str]) -> Keyword:
    names = [types] if isinstance(types, str) else types
    kinds = frozenset().union(*(_TYPES[name] for name in names))
    if "integer" not in names or "number" in names:
        return _fixed([Branch(kinds)], [Branch(KINDS - kinds)] if KINDS - kinds else [])
    holds = Branch(kinds, number=NumberSet(integer=True))
    fails = [Branch(KINDS - kinds)] if KINDS - kinds else []
    return _fixed([holds], [*fails, of_kind("number", number=NumberSet(integer=False))])


def _values(keywords: Keywords, values: list[Any]) -> Keyword:
    kinds: set[str] = set()
    numbers: set[Decimal] = set()
    strings: set[str] = set()
    composites: list[Any] = []
    for value in values:
        if value is None or isinstance(value, bool):
            kinds.add({None: "null", True: "true", False: "false"}[value])
        elif isinstance(value, int | Decimal):
            numbers.add(Decimal(value))
        elif isinstance(value, str):
            strings.add(value)
        else:
            composites.append(value)
    scalar = kinds | ({"number"} if numbers else set()) | ({"string"} if strings else set())

    def holds() -> list[Branch]:
        found = [_composite(keywords, value) for value in composites]
        if scalar:
            sets = {"number": NumberSet(values=frozenset(numbers))} if numbers else {}
            text = {"string": StringSet(values=frozenset(strings))} if strings else {}
            # mypy cannot tell which fields ** has.
            found.insert(0, Branch(frozenset(scalar), **sets, **text))  # type: ignore[arg-type]
        return found

    def fails() -> list[Branch]:
        other = Branch(
            KINDS - kinds,
            number=NumberSet(excluded=frozenset(numbers)),
            string=StringSet(excluded=frozenset(strings)),
        )
        parts = (_not_composite(keywords, value) for value in composites)
        return keywords.expander.product([other], *parts)

    return Keyword(holds, fails)


def _composite(keywords: Keywords, value: Any) -> Branch:
    constant = keywords.expander.constant
    if isinstance(value, list):
        items = tuple(map(constant, value))
        return of_kind("array", array=ArraySet(items, low=len(items), high=len(items)))
    rules = [(KeySet(frozenset({name})), constant(item)) for name, item in value.items()]
    names = frozenset(value)
    rules.append((KeySet(other_than=names), frozenset({keywords.expander.never})))
    return of_kind("object", object=ObjectSet(tuple(value), tuple(rules), required=names))


def _not_composite(keywords: Keywords, value: Any) -> list[Branch]:
    expander = keywords.expander

    def unlike(item: Any) -> Formula:
        return expander.deny(expander.constant(item))

    if isinstance(value, list):
        size = len(value)
        found = [others_than("array"), of_kind("array", array=ArraySet(low=size + 1))]
        if size:
            found.append(of_kind("array", array=ArraySet(high=size - 1)))
        for index, item in enumerate(value):
            prefix = (*(ANYTHING,) * index, unlike(item))
            found.append(of_kind("array", array=ArraySet(prefix, low=size, high=size)))
        return found
    found = [others_than("object")]
    extra: tuple[KeySet, Formula] = (KeySet(other_than=frozenset(value)), ANYTHING)
    found.append(of_kind("object", object=ObjectSet(witnesses=(extra,))))
    for name, item in value.items():
        keys = KeySet(frozenset({name}))
        absent = ObjectSet((name,), ((keys, frozenset({expander.never})),))
        other = ObjectSet((name,), ((keys, unlike(item)),), frozenset({name}))
        found += [of_kind("object", object=absent), of_kind("object", object=other)]
    return found


def _bound(name: str, value: int | Decimal) -> Keyword:
    number = Decimal(value)
    inside = Bound(number, name.startswith("exclusive"))
    outside = Bound(number, not inside.open)
    if name.lower().endswith("minimum"):
        holds, fails = NumberSet(low=inside), NumberSet(high=outside)
    else:
        holds, fails = NumberSet(high=inside), NumberSet(low=outside)
    return _fixed([restrict(number=holds)], [of_kind("number", number=fails)])


def _multiple(keywords: Keywords, value: int | Decimal) -> Keyword:
    step = Fraction(value)
    keywords.expander.seen["multipleOf"] = f"{keywords.pointer}/multipleOf"

    def fails() -> list[Branch]:
        if step != 1:
            raise keywords.refuse("multipleOf", "cannot be enforced where it must not hold")
        return [of_kind("number", number=NumberSet(integer=False))]

    number = NumberSet(multiples=(step,)).simplify() or NumberSet()
    return Keyword(lambda: [restrict(number=number)], fails)


def _length(keywords: Keywords, name: str, value: int) -> Keyword:
    if value > _MAX_LENGTH:
        raise keywords.refuse(name, f"is larger than {_MAX_LENGTH}")
    if name == "minLength":
        fails = [of_kind("string", string=StringSet(max_length=value - 1))] if value else []
        return _fixed([restrict(string=StringSet(min_length=value))], fails)
    fails = [of_kind("string", string=StringSet(min_length=value + 1))]
    return _fixed([restrict(string=StringSet(max_length=value))], fails)


def _pattern(keywords: Keywords, source: str) -> Keyword:
    try:
        pattern = parse(source)
    except BadPattern as error:
        raise keywords.refuse("pattern", str(error)) from error
    return _fixed(
        [restrict(string=StringSet(patterns=(pattern,)))],
        [of_kind("string", string=StringSet(forbidden=(pattern,)))],
    )


def _format(keywords: Keywords, name: str) -> Keyword:
    number, text = number_format(name), string_format(name)
    if number is not None:
        return _fixed([restrict(number=number)], _outside(number))
    if text is None:
        known = ", ".join(FORMATS)
        raise keywords.refuse("format", f"{name!r} cannot be enforced; these can: {known}")

    def fails() -> list[Branch]:
        if text.narrow:
            raise keywords.refuse("format", f"{name!r} cannot be enforced where it must not hold")
        return [of_kind("string", string=StringSet(forbidden=text.patterns))]

    return Keyword(lambda: [restrict(string=StringSet(patterns=text.patterns))], fails)


def _outside(number: NumberSet) -> list[Branch]:
    found = [NumberSet(integer=False)] if number.integer else []
    if number.low is not None:
        found.append(NumberSet(high=Bound(number.low.value, open=True)))
    if number.high is not None:
        found.append(NumberSet(low=Bound(number.high.value, open=True)))
    return [of_kind("number", number=part) for part in found]
