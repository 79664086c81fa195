"""Schemas as disjunctions: which branches a conjunction of schemas, or its negation, has.

The literals of a formula are schemas of the document, asserted or denied. A schema in place
(``$ref``, ``allOf``, ``not``, ``if``, …) is unfolded; one below a key or an item becomes a
formula of its own. There are finitely many formulas, so recursive schemas end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from referencing.jsonschema import DRAFT202012

from .document import Document
from .errors import Refused, TooComplex
from .shapes import ANYTHING, Branch, Evaluated, Formula, KeySet, Literal, ObjectSet
from .strings import StringSet

if TYPE_CHECKING:
    from referencing._core import Resolver

_MAX_BRANCHES = 512
_MAX_WORK = 400_000


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword of a schema: the branches in which it holds, and those in which it does not."""

    holds: Callable[[], list[Branch]]
    fails: Callable[[], list[Branch]]


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A schema and what its references are relative to, or a union of formulas."""

    contents: Any
    resolver: Resolver[Any] | None = None
    options: tuple[Formula, ...] = ()


class _Circular(Refused):
    """A schema is needed in place while it is being unfolded."""


class Expander:
    """Unfolds the schemas of one document. Not thread-safe; made for one compilation.

    ``nonempty``: whether any string is of a set; asked when it is not plain to see.
    """

    def __init__(self, document: Document, nonempty: Callable[[StringSet], bool]) -> None:
        self.document = document
        self.nonempty = nonempty
        # Where a keyword was last seen whose refusal is found out later.
        self.seen: dict[str, str] = {}
        self._entries: list[_Entry] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._branches: dict[Formula, list[Branch]] = {}
        self._expanded: dict[tuple[Literal, bool], list[Branch]] = {}
        self._active: set[tuple[Literal, bool]] = set()
        self._possible: dict[Formula, bool] = {}
        self._work = 0
        self.never = (self._number((False,), _Entry(False)), True)

    def root(self) -> Formula:
        """The formula of the whole document."""
        return self.formula(self.document.contents, self.document.resolver, entered=True)

    def formula(self, contents: Any, resolver: Resolver[Any], *, entered: bool = False) -> Formula:
        """The formula that a schema holds; ``entered``: ``resolver`` is its own already."""
        if contents is True or contents == {}:
            return ANYTHING
        if contents is False:
            return frozenset({self.never})
        if "$id" in contents and not entered:
            resolver = resolver.in_subresource(DRAFT202012.create_resource(contents))
        scope = self._scope(resolver)
        number = self._number((id(contents), *scope), _Entry(contents, resolver))
        return frozenset({(number, True)})

    def constant(self, value: Any) -> Formula:
        """The formula of one value."""
        number = self._number(("const", _canonical(value)), _Entry({"const": value}))
        return frozenset({(number, True)})

    def either(self, options: Sequence[Formula]) -> Formula:
        """The formula that one of several holds."""
        if ANYTHING in options:
            return ANYTHING
        if len(options) == 1:
            return options[0]
        number = self._number(("either", *options), _Entry(None, None, tuple(options)))
        return frozenset({(number, True)})

    def deny(self, formula: Formula) -> Formula:
        """The formula that another one does not hold."""
        if formula == ANYTHING:
            return frozenset({self.never})
        if self.never in formula:
            return ANYTHING
        return self.either([frozenset({(number, not holds)}) for number, holds in sorted(formula)])

    def branches(self, formula: Formula) -> list[Branch]:
        """The disjuncts of a formula. Raises ``Refused``, ``TooComplex``."""
        found = self._branches.get(formula)
        if found is None:
            parts = [self.expand(literal) for literal in sorted(formula)]
            found = self.product([Branch()], *parts)
            self._branches[formula] = found
        return found

    def expand(self, literal: Literal, *, exact: bool = False) -> list[Branch]:
        """The disjuncts of one literal; ``exact``: with all that they have evaluated."""
        key = (literal, exact)
        found = self._expanded.get(key)
        if found is None:
            if key in self._active:
                where = self.document.pointer(self._entries[literal[0]].contents)
                raise _Circular(where, "refers to itself without a key or an item between")
            self._active.add(key)
            try:
                found = self._expand(literal, exact)
            finally:
                self._active.discard(key)
            self._expanded[key] = found
        return found

    def expand_formula(self, formula: Formula, *, exact: bool = False) -> list[Branch]:
        """The disjuncts of all literals of a formula."""
        return self.product([Branch()], *(self.expand(x, exact=exact) for x in sorted(formula)))

    def product(self, *parts: Iterable[Branch]) -> list[Branch]:
        """The branches of a conjunction."""
        return reduce(self._product, parts, [Branch()])

    def possible(self, formula: Formula) -> bool:
        """False when plainly no value conforms; asked to keep products small."""
        found = self._possible.get(formula)
        if found is None:
            self._possible[formula] = True  # a value that contains itself: not plain
            try:
                found = any(map(self._branch_possible, self.branches(formula)))
            except _Circular:  # asked for while a schema around it is unfolded: not plain
                found = True
            self._possible[formula] = found
        return found

    def has_key(self, keys: KeySet, name: str) -> bool:
        """Whether a key is in a set of keys."""
        return (
            (keys.names is None or name in keys.names)
            and name not in keys.other_than
            and all(pattern.matches(name) for pattern in keys.patterns)
            and not any(pattern.matches(name) for pattern in keys.forbidden)
            and (keys.formula == ANYTHING or self.string_conforms(keys.formula, name))
        )

    def string_conforms(self, formula: Formula, text: str) -> bool:
        """Whether a string conforms to a formula."""
        return any(
            "string" in branch.kinds and branch.string.contains(text)
            for branch in self.branches(formula)
        )

    def value_of(self, keys: ObjectSet, name: str) -> Formula:
        """What the value of a key must conform to."""
        rules = (formula for key_set, formula in keys.rules if self.has_key(key_set, name))
        return ANYTHING.union(*rules)

    def _number(self, key: tuple[object, ...], entry: _Entry) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._entries)
            self._entries.append(entry)
        return number

    def _scope(self, resolver: Resolver[Any]) -> tuple[str, ...]:
        """The resources entered on the way, outermost first; only $dynamicRef looks at them."""
        if not self.document.dynamic:
            return ()
        return tuple(dict.fromkeys(reversed([uri for uri, _ in resolver.dynamic_scope()])))

    def _product(self, left: Iterable[Branch], right: Iterable[Branch]) -> list[Branch]:
        right = list(right)
        found: dict[Branch, None] = {}
        for a in left:
            self._work += len(right)
            if len(found) > _MAX_BRANCHES or self._work > _MAX_WORK:
                raise TooComplex("has too many combinations of alternatives")
            for b in right:
                both = a.intersect(b)
                if both is not None:
                    found[both] = None
        return list(found)

    def _expand(self, literal: Literal, exact: bool) -> list[Branch]:
        number, holds = literal
        entry = self._entries[number]
        if entry.options:
            return self._expand_union(entry.options, holds)
        if entry.contents is False:
            return [] if holds else [Branch()]
        from .keywords import Keywords  # its handlers call back into this class

        keywords = Keywords(self, entry.contents, entry.resolver, exact=exact)
        found = keywords.holds() if holds else keywords.fails()
        if not holds:
            found = [replace(branch, evaluated=Evaluated()) for branch in found]
        if len(found) > _MAX_BRANCHES:
            raise TooComplex("has too many alternatives")
        return list(dict.fromkeys(found))

    def _expand_union(self, options: tuple[Formula, ...], holds: bool) -> list[Branch]:
        if holds:
            return [branch for option in options for branch in self.branches(option)]
        denied = (
            [b for number, positive in sorted(option) for b in self.expand((number, not positive))]
            for option in options
        )
        return self.product(*denied)

    def _branch_possible(self, branch: Branch) -> bool:
        if branch.kinds & {"null", "true", "false", "number"}:
            return True
        if "string" in branch.kinds and (not branch.string.unsure or self.nonempty(branch.string)):
            return True
        if "array" in branch.kinds and all(
            self.possible(branch.array.item(i))
            for i in range(min(branch.array.low, len(branch.array.prefix) + 1))
        ):
            return True
        return "object" in branch.kinds and all(
            self.possible(self.value_of(branch.object, name)) for name in branch.object.required
        )


def _canonical(value: Any) -> object:
    """A hashable stand-in that is equal for values that JSON Schema takes as equal."""
    if isinstance(value, bool) or value is None:
        return ("literal", str(value))
    if isinstance(value, list):
        return ("array", *map(_canonical, value))
    if isinstance(value, dict):
        return ("object", *((key, _canonical(item)) for key, item in value.items()))
    return value
