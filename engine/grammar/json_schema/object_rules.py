"""Grammar rules of objects: known keys in order, then any others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from .errors import Refused, TooComplex
from .pattern import Pattern
from .rules import Production, matches_something
from .shapes import ANYTHING, Formula, KeySet, ObjectSet
from .strings import CHARACTER, spelled

if TYPE_CHECKING:
    from .emitter import Emitter

_MAX_PREDICATES = 6
_MAX_VARIANTS = 64
_MAX_STATES = 10_000

Predicate = Pattern | Formula


@dataclass(frozen=True, slots=True)
class _Cell:
    """Keys that the schema does not name and does not tell apart: their expression, and more."""

    expression: str
    formula: Formula
    witness: bool = False


class ObjectRules:
    """Makes the rules of objects."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._made: dict[ObjectSet, list[Production]] = {}
        self._keys: dict[str, str] = {}

    def productions(self, objects: ObjectSet) -> list[Production]:
        """How an object of the set may be written."""
        found = self._made.get(objects)
        if found is None:
            found = self._made[objects] = []
            names = self._known(objects)
            for variant, witness in self._variants(objects, names):
                inner = _Fields(self, self._emitter, variant, names, witness).rule()
                found.append(("OPEN_OBJECT", inner, "CLOSE_OBJECT"))
        return found

    def key(self, expression: str) -> str:
        """The terminal of a key, its quotes and colon, by the expression of its characters."""
        return self._emitter.rules.terminal(rf"/\x22/ ({expression}) /\x22:\x20?/")

    def cells(
        self, objects: ObjectSet, names: tuple[str, ...], witness: KeySet | None
    ) -> list[_Cell]:
        """The other keys, by what their values must conform to."""
        general = [(keys, formula) for keys, formula in objects.rules if keys.names is None]
        sets = [keys for keys, _ in general] + ([witness] if witness is not None else [])
        predicates = list(dict.fromkeys(p for keys in sets for p in _predicates(keys)))
        if len(predicates) > _MAX_PREDICATES:
            raise TooComplex(f"tells keys apart by more than {_MAX_PREDICATES} patterns")
        groups: dict[tuple[Formula, bool], list[tuple[bool, ...]]] = {}
        for truth in product((True, False), repeat=len(predicates)):
            holds = dict(zip(predicates, truth, strict=True))
            formula = ANYTHING.union(*(f for keys, f in general if _inside(keys, holds)))
            seen = witness is not None and _inside(witness, holds)
            groups.setdefault((formula, seen), []).append(truth)
        cells = []
        for (formula, seen), truths in groups.items():
            if self._emitter.expander.never in formula:
                continue
            free = len(truths) == 2 ** len(predicates)
            expression = self._expression([] if free else predicates, truths, names)
            if free or matches_something(expression):
                cells.append(_Cell(expression, formula, seen))
        return cells

    def _expression(
        self, predicates: list[Predicate], truths: list[tuple[bool, ...]], names: tuple[str, ...]
    ) -> str:
        """The characters of keys that are not known and for which one of ``truths`` holds."""
        terms = [f"/{CHARACTER}*/"]
        if predicates:
            languages = [self._language(predicate) for predicate in predicates]
            options = (
                " & ".join(
                    f"{'' if true else '~'}({text})"
                    for true, text in zip(truth, languages, strict=True)
                )
                for truth in truths
            )
            terms.append("(" + " | ".join(f"({option})" for option in options) + ")")
        if names:
            terms.append("~/" + "|".join(map(spelled, names)) + "/")
        return " & ".join(terms)

    def _language(self, predicate: Predicate) -> str:
        if isinstance(predicate, Pattern):
            return predicate.expression
        branches = self._emitter.expander.branches(predicate)
        options = [f"({b.string.content()})" for b in branches if "string" in b.kinds]
        return " | ".join(options) or "/[a--a]/"

    def _known(self, objects: ObjectSet) -> tuple[str, ...]:
        """All keys that are named anywhere, in the order in which they are written."""
        more: set[str] = set()
        for keys, _ in (*objects.rules, *objects.witnesses):
            more |= keys.other_than | (keys.names or frozenset())
        rest = sorted((more | objects.required) - set(objects.names))
        return (*objects.names, *rest)

    def _variants(
        self, objects: ObjectSet, names: tuple[str, ...]
    ) -> list[tuple[ObjectSet, tuple[KeySet, Formula] | None]]:
        """One set for each choice of which key bears witness; at most one is not known."""
        has_key = self._emitter.expander.has_key
        choices: list[list[tuple[str | None, KeySet, Formula]]] = [
            [(None, keys, formula)] * (keys.names is None)
            + [(name, keys, formula) for name in names if has_key(keys, name)]
            for keys, formula in objects.witnesses
        ]
        found = []
        for choice in product(*choices):
            variant = replace(objects, witnesses=())
            free = [(keys, formula) for name, keys, formula in choice if name is None]
            if len(free) > 1:
                raise TooComplex("asks for several keys that it does not name")
            for name, _, formula in choice:
                if name is not None:
                    rule = (KeySet(frozenset({name})), formula)
                    variant = replace(
                        variant,
                        rules=(*variant.rules, rule),
                        required=variant.required | {name},
                    )
            found.append((variant, free[0] if free else None))
            if len(found) > _MAX_VARIANTS:
                raise TooComplex("has too many ways to deny a property")
        return found


class _Fields:
    """What stands between the braces: a chain over the known keys, then the others.

    States are (key, whether there is one before it, how many there are); the number is
    counted only where a bound can bite.
    """

    def __init__(
        self,
        objects: ObjectRules,
        emitter: Emitter,
        variant: ObjectSet,
        names: tuple[str, ...],
        witness: tuple[KeySet, Formula] | None,
    ) -> None:
        self._objects = objects
        self._emitter = emitter
        self._set = variant
        self._fields = [
            (name, emitter.expander.value_of(variant, name), name in variant.required)
            for name in names
        ]
        never = emitter.expander.never
        self._fields = [f for f in self._fields if never not in f[1] or f[2]]
        cells = objects.cells(variant, names, witness[0] if witness else None)
        self._other = self._item(cells, ANYTHING)
        self._witness = None
        if witness is not None:
            wanted = [cell for cell in cells if cell.witness]
            self._witness = self._item(wanted, witness[1]) or emitter.rules.name("n")
        self._counting = self._bounded()
        self._states: dict[tuple[int, bool, int], str] = {}

    def rule(self) -> str:
        """The rule of everything between the braces."""
        return self._state(0, False, 0)

    def _bounded(self) -> bool:
        required = sum(field[2] for field in self._fields)
        low, high = self._set.low, self._set.high
        if low > len(self._fields) + 1 and self._other is not None:
            at = self._emitter.expander.seen.get("minProperties", "#")
            raise Refused(at, "asks for more keys than the schema names, plus one")
        too_many = high is not None and (self._other is not None or high < len(self._fields))
        return low > required or too_many

    def _item(self, cells: list[_Cell], extra: Formula) -> str | None:
        """The rule of one other key and its value."""
        productions: list[Production] = [
            (self._objects.key(cell.expression), self._emitter.value(cell.formula | extra))
            for cell in cells
        ]
        rules = self._emitter.rules
        return rules.add(rules.name("k"), productions) if productions else None

    def _state(self, index: int, started: bool, count: int) -> str:
        key = (index, started, count)
        name = self._states.get(key)
        if name is None:
            if len(self._states) >= _MAX_STATES:
                raise TooComplex("counts too many keys")
            rules = self._emitter.rules
            name = self._states[key] = rules.name("f")
            rules.add(name, self._productions(index, started, count))
        return name

    def _productions(self, index: int, started: bool, count: int) -> list[Production]:
        step = 1 if self._counting else 0
        symbols: list[str] = []
        while index < len(self._fields):
            name, formula, required = self._fields[index]
            field = (self._objects.key(f"/{spelled(name)}/"), self._emitter.value(formula))
            comma = ("COMMA",) if started else ()
            index += 1
            if not required:
                there = (*symbols, *comma, *field, self._state(index, True, count + step))
                return [there, (*symbols, self._state(index, started, count))]
            symbols += [*comma, *field]
            started, count = True, count + step
        return [(*symbols, *rest) for rest in self._rest(started, count)]

    def _rest(self, started: bool, count: int) -> list[Production]:
        """The keys that are not known. Of these, only the first is sure to be a new one."""
        low = max(self._set.low - count, 0) if self._counting else 0
        high = self._set.high - count if self._counting and self._set.high is not None else None
        if low > 1 or (high is not None and high < 0):
            return []
        items = self._emitter.array_items
        if self._witness is None:
            if self._other is None:
                return [()] if low == 0 else []
            return items(self._other, low, high, started=started)
        if high == 0:
            return []
        # Last, because of keys that are there twice parsers take the last.
        alone: list[Production] = [(("COMMA",) if started else ()) + (self._witness,)]
        if self._other is None:
            return alone
        before = items(self._other, 1, None if high is None else high - 1, started=started)
        return alone + [(*production, "COMMA", self._witness) for production in before]


def _predicates(keys: KeySet) -> list[Predicate]:
    return [*keys.patterns, *keys.forbidden, *([keys.formula] if keys.formula else [])]


def _inside(keys: KeySet, holds: dict[Predicate, bool]) -> bool:
    return (
        all(holds[p] for p in keys.patterns)
        and not any(holds[p] for p in keys.forbidden)
        and (not keys.formula or holds[keys.formula])
    )
