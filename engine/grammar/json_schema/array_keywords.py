"""Keywords about arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .errors import join
from .expander import Keyword
from .shapes import ANYTHING, ArraySet, Branch, Contains, Evaluated, of_kind, restrict

if TYPE_CHECKING:
    from .keywords import Keywords

_MAX_ITEMS = 100_000


def array_keywords(keywords: Keywords) -> Iterator[Keyword]:
    """All keywords of a schema that this module knows."""
    schema = keywords.schema
    if "prefixItems" in schema or "items" in schema:
        yield _items(keywords)
    if "contains" in schema:
        yield _contains(keywords)
    for name in ("minItems", "maxItems"):
        if name in schema:
            yield _count(keywords, name)
    if schema.get("uniqueItems"):
        yield _unique(keywords)


def _array(**sets: object) -> Branch:
    return of_kind("array", array=ArraySet(**sets))  # type: ignore[arg-type]  # mypy cannot tell which fields ** has


def _items(keywords: Keywords) -> Keyword:
    schema, expander = keywords.schema, keywords.expander
    size = len(schema.get("prefixItems", ()))
    prefix = tuple(keywords.formula("prefixItems", index) for index in range(size))
    rest = keywords.formula("items") if "items" in schema else ANYTHING
    seen = Evaluated(items=size, all_items="items" in schema)

    def fails() -> list[Branch]:
        found = [
            _array(prefix=(*(ANYTHING,) * index, expander.deny(formula)), low=index + 1)
            for index, formula in enumerate(prefix)
            if formula != ANYTHING
        ]
        if rest != ANYTHING:
            found.append(_array(contains=(Contains(expander.deny(rest), start=size),)))
        return found

    return Keyword(lambda: [restrict(array=ArraySet(prefix, rest), evaluated=seen)], fails)


def _contains(keywords: Keywords) -> Keyword:
    schema = keywords.schema
    formula = keywords.formula("contains")
    low = int(schema.get("minContains", 1))
    high = int(schema["maxContains"]) if "maxContains" in schema else None
    for name in ("minContains", "maxContains"):
        if schema.get(name, 0) > _MAX_ITEMS:
            raise keywords.refuse(name, f"is larger than {_MAX_ITEMS}")
    counted = (Contains(formula, low, high),) if low > 0 or high is not None else ()
    seen = Evaluated(matching=(formula,))
    fails = [_array(contains=(Contains(formula, 0, low - 1),))] if low > 0 else []
    if high is not None:
        fails.append(_array(contains=(Contains(formula, high + 1),)))
    holds = [restrict(array=ArraySet(contains=counted), evaluated=seen)]
    if high is not None and high < low:
        holds = [Branch(Branch().kinds - {"array"})]
    return Keyword(lambda: holds, lambda: fails)


def _count(keywords: Keywords, name: str) -> Keyword:
    value = int(keywords.schema[name])
    if value > _MAX_ITEMS:
        raise keywords.refuse(name, f"is larger than {_MAX_ITEMS}")
    if name == "minItems":
        holds, fails = ArraySet(low=value), [_array(high=value - 1)] if value else []
    else:
        holds, fails = ArraySet(high=value), [_array(low=value + 1)]
    return Keyword(lambda: [restrict(array=holds)], lambda: fails)


def _unique(keywords: Keywords) -> Keyword:
    keywords.expander.seen["uniqueItems"] = join(keywords.pointer, "uniqueItems")

    def fails() -> list[Branch]:
        raise keywords.refuse("uniqueItems", "cannot be enforced where it must not hold")

    return Keyword(lambda: [restrict(array=ArraySet(unique=True))], fails)
