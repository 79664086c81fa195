"""Keywords about objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .errors import BadPattern, Refused, join
from .expander import Keyword
from .pattern import Pattern, parse
from .shapes import ANYTHING, Branch, Evaluated, KeySet, ObjectSet, of_kind, restrict

if TYPE_CHECKING:
    from .keywords import Keywords

_MAX_PROPERTIES = 100_000


def object_keywords(keywords: Keywords) -> Iterator[Keyword]:
    """All keywords of a schema that this module knows."""
    schema = keywords.schema
    if schema.keys() & {"properties", "patternProperties", "additionalProperties"}:
        yield _properties(keywords)
    if "required" in schema:
        yield _required(keywords)
    for name in ("minProperties", "maxProperties"):
        if name in schema:
            yield _count(keywords, name)
    if "propertyNames" in schema:
        yield _property_names(keywords)
    for name, others in schema.get("dependentRequired", {}).items():
        yield from dependent_required(keywords, name, others)


def _object(**sets: object) -> Branch:
    return of_kind("object", object=ObjectSet(**sets))  # type: ignore[arg-type]  # mypy cannot tell which fields ** has


def _named(name: str) -> KeySet:
    return KeySet(frozenset({name}))


def _absent(keywords: Keywords, name: str) -> ObjectSet:
    return ObjectSet(rules=((_named(name), frozenset({keywords.expander.never})),))


def _patterns(keywords: Keywords) -> Iterator[tuple[str, Pattern]]:
    for source in keywords.schema.get("patternProperties", ()):
        try:
            yield source, parse(source)
        except BadPattern as error:
            at = join(keywords.pointer, "patternProperties", source)
            raise Refused(at, str(error)) from error


def _properties(keywords: Keywords) -> Keyword:
    schema, deny = keywords.schema, keywords.expander.deny
    names = tuple(schema.get("properties", ()))
    patterns = list(_patterns(keywords))
    rules = [(_named(name), keywords.formula("properties", name)) for name in names]
    rules += [
        (KeySet(patterns=(pattern,)), keywords.formula("patternProperties", source))
        for source, pattern in patterns
    ]
    looked_at = tuple(keys for keys, _ in rules)
    if "additionalProperties" in schema:
        others = KeySet(other_than=frozenset(names), forbidden=tuple(p for _, p in patterns))
        rules.append((others, keywords.formula("additionalProperties")))
    rules = [(keys, formula) for keys, formula in rules if formula != ANYTHING]
    seen = Evaluated(looked_at, all_keys="additionalProperties" in schema)

    def fails() -> list[Branch]:
        found = []
        for keys, formula in rules:
            if keys.names is None:
                found.append(_object(names=names, witnesses=((keys, deny(formula)),)))
            else:
                denied = ((keys, deny(formula)),)
                found.append(_object(names=names, rules=denied, required=keys.names))
        return found

    whole = restrict(object=ObjectSet(names, tuple(rules)), evaluated=seen)
    return Keyword(lambda: [whole], fails)


def _required(keywords: Keywords) -> Keyword:
    names = keywords.schema["required"]
    # The order of keys is that of ``properties``; those without a schema come after.
    extra = tuple(name for name in names if name not in keywords.schema.get("properties", ()))
    holds = [restrict(object=ObjectSet(extra, required=frozenset(names)))]
    fails = [of_kind("object", object=_absent(keywords, name)) for name in names]
    return Keyword(lambda: holds, lambda: fails)


def _count(keywords: Keywords, name: str) -> Keyword:
    value = int(keywords.schema[name])
    if value > _MAX_PROPERTIES:
        raise keywords.refuse(name, f"is larger than {_MAX_PROPERTIES}")
    keywords.expander.seen[name] = join(keywords.pointer, name)
    if name == "minProperties":
        holds, fails = ObjectSet(low=value), [_object(high=value - 1)] if value else []
    else:
        holds, fails = ObjectSet(high=value), [_object(low=value + 1)]
        keywords.expander.seen["minProperties"] = join(keywords.pointer, name)
    return Keyword(lambda: [restrict(object=holds)], lambda: fails)


def _property_names(keywords: Keywords) -> Keyword:
    expander = keywords.expander
    bad = KeySet(formula=expander.deny(keywords.formula("propertyNames")))
    holds = restrict(object=ObjectSet(rules=((bad, frozenset({expander.never})),)))
    return Keyword(
        lambda: [holds] if expander.never not in bad.formula else [Branch()],
        lambda: (
            [_object(witnesses=((bad, ANYTHING),))] if expander.never not in bad.formula else []
        ),
    )


def dependent_required(keywords: Keywords, name: str, others: list[str]) -> Iterator[Keyword]:
    """Where the key ``name`` is, the ``others`` are."""
    if not others:
        return
    holds = [
        restrict(object=_absent(keywords, name)),
        _object(required=frozenset({name, *others})),
    ]
    fails = [
        of_kind("object", object=both)
        for other in others
        if (both := _absent(keywords, other).intersect(ObjectSet(required=frozenset({name}))))
    ]
    yield Keyword(lambda: holds, lambda: fails)
