"""What one disjunct of a schema asks of each kind of value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .numbers import NumberSet
from .pattern import Pattern
from .strings import StringSet

Literal = tuple[int, bool]
"""A schema (its number in the ``Expander``) that holds (True) or does not (False)."""

Formula = frozenset[Literal]
"""A conjunction: all literals hold. Empty: any value."""

ANYTHING: Formula = frozenset()
KINDS = frozenset({"null", "false", "true", "number", "string", "array", "object"})


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys of an object for which all conditions hold.

    ``names`` None: any; ``formula``: what the key itself, as a string, must conform to.
    """

    names: frozenset[str] | None = None
    other_than: frozenset[str] = frozenset()
    patterns: tuple[Pattern, ...] = ()
    forbidden: tuple[Pattern, ...] = ()
    formula: Formula = ANYTHING


@dataclass(frozen=True, slots=True)
class ObjectSet:
    """Objects: values of certain keys conform, keys are there, and how many.

    ``names``: keys in the order in which they are written; ``witnesses``: at least one key of
    the set is there with such a value.
    """

    names: tuple[str, ...] = ()
    rules: tuple[tuple[KeySet, Formula], ...] = ()
    required: frozenset[str] = frozenset()
    witnesses: tuple[tuple[KeySet, Formula], ...] = ()
    low: int = 0
    high: int | None = None

    def intersect(self, other: ObjectSet) -> ObjectSet | None:
        """The objects in both; None when that is plainly none."""
        highs = [h for h in (self.high, other.high) if h is not None]
        merged = ObjectSet(
            tuple(dict.fromkeys(self.names + other.names)),
            tuple(dict.fromkeys(self.rules + other.rules)),
            self.required | other.required,
            tuple(dict.fromkeys(self.witnesses + other.witnesses)),
            max(self.low, other.low),
            min(highs, default=None),
        )
        wanted = max(merged.low, len(merged.required))
        return None if merged.high is not None and wanted > merged.high else merged


@dataclass(frozen=True, slots=True)
class Contains:
    """Between ``low`` and ``high`` items from position ``start`` on conform to ``formula``."""

    formula: Formula
    low: int = 1
    high: int | None = None
    start: int = 0


@dataclass(frozen=True, slots=True)
class ArraySet:
    """Arrays: the first items conform to ``prefix`` one by one, the others to ``rest``."""

    prefix: tuple[Formula, ...] = ()
    rest: Formula = ANYTHING
    contains: tuple[Contains, ...] = ()
    low: int = 0
    high: int | None = None
    unique: bool = False

    def intersect(self, other: ArraySet) -> ArraySet | None:
        """The arrays in both; None when that is plainly none."""
        size = max(len(self.prefix), len(other.prefix))
        highs = [h for h in (self.high, other.high) if h is not None]
        merged = ArraySet(
            tuple(self.item(i) | other.item(i) for i in range(size)),
            self.rest | other.rest,
            tuple(dict.fromkeys(self.contains + other.contains)),
            max(self.low, other.low),
            min(highs, default=None),
            self.unique or other.unique,
        )
        return None if merged.high is not None and merged.low > merged.high else merged

    def item(self, index: int) -> Formula:
        """What the item at a position must conform to."""
        return self.prefix[index] if index < len(self.prefix) else self.rest


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Which keys and items the in-place schemas of a disjunct have looked at."""

    keys: tuple[KeySet, ...] = ()
    all_keys: bool = False
    items: int = 0
    all_items: bool = False
    matching: tuple[Formula, ...] = ()

    def union(self, other: Evaluated) -> Evaluated:
        """Looked at by either."""
        return Evaluated(
            tuple(dict.fromkeys(self.keys + other.keys)),
            self.all_keys or other.all_keys,
            max(self.items, other.items),
            self.all_items or other.all_items,
            tuple(dict.fromkeys(self.matching + other.matching)),
        )


@dataclass(frozen=True, slots=True)
class Branch:
    """One disjunct: values of one of ``kinds`` that conform to what is asked of that kind."""

    kinds: frozenset[str] = KINDS
    number: NumberSet = field(default_factory=NumberSet)
    string: StringSet = field(default_factory=StringSet)
    array: ArraySet = field(default_factory=ArraySet)
    object: ObjectSet = field(default_factory=ObjectSet)
    evaluated: Evaluated = field(default_factory=Evaluated)

    def intersect(self, other: Branch) -> Branch | None:
        """The values in both; None when that is plainly none."""
        kinds = self.kinds & other.kinds
        number = self.number.intersect(other.number) if "number" in kinds else None
        string = self.string.intersect(other.string) if "string" in kinds else None
        array = self.array.intersect(other.array) if "array" in kinds else None
        object_ = self.object.intersect(other.object) if "object" in kinds else None
        gone = {
            kind
            for kind, left in (
                ("number", number), ("string", string), ("array", array), ("object", object_)
            )
            if left is None
        }  # fmt: skip
        if not kinds - gone:
            return None
        return Branch(
            kinds - gone,
            number or NumberSet(),
            string or StringSet(),
            array or ArraySet(),
            object_ or ObjectSet(),
            self.evaluated.union(other.evaluated),
        )


def of_kind(kind: str, **sets: object) -> Branch:
    """The values of one kind, or of these of its sets."""
    return replace(Branch(frozenset({kind})), **sets)  # type: ignore[arg-type]  # mypy cannot tell which fields ** has


def others_than(*kinds: str) -> Branch:
    """The values of all other kinds."""
    return Branch(KINDS - set(kinds))


def restrict(**sets: object) -> Branch:
    """Any value, those of some kinds only out of these sets."""
    return replace(Branch(), **sets)  # type: ignore[arg-type]  # mypy cannot tell which fields ** has


def implication(kind: str, branches: Sequence[Branch]) -> list[Branch]:
    """Values of other kinds, or one of ``branches``."""
    return [others_than(kind), *branches]
