"""The keywords of one schema: in which branches each holds, and in which it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .array_keywords import array_keywords
from .document import DEPENDENCIES
from .errors import Refused, join
from .expander import Expander, Keyword
from .object_keywords import dependent_required, object_keywords
from .scalar_keywords import scalar_keywords
from .shapes import (
    ANYTHING,
    ArraySet,
    Branch,
    Contains,
    Evaluated,
    Formula,
    KeySet,
    ObjectSet,
    of_kind,
    restrict,
)

if TYPE_CHECKING:
    from referencing._core import Resolver


class Keywords:
    """One schema object, ready to be unfolded.

    ``exact``: its branches must know all that is evaluated, because a schema around it has
    ``unevaluatedProperties`` or ``unevaluatedItems``.
    """

    def __init__(
        self,
        expander: Expander,
        schema: dict[str, Any],
        resolver: Resolver[Any] | None,
        *,
        exact: bool,
    ) -> None:
        self.expander = expander
        self.schema = schema
        self.pointer = expander.document.pointer(schema)
        self._resolver = resolver
        own = "unevaluatedProperties" in schema or "unevaluatedItems" in schema
        self.exact = exact or own

    def holds(self) -> list[Branch]:
        """The branches in which all keywords hold."""
        branches = self.expander.product(*(keyword.holds() for keyword in self._keywords()))
        if "unevaluatedProperties" in self.schema:
            rest = self.formula("unevaluatedProperties")
            branches = [b for x in branches for b in self._other_keys(x, rest)]
        if "unevaluatedItems" in self.schema:
            rest = self.formula("unevaluatedItems")
            branches = [b for x in branches for b in self._other_items(x, rest)]
        return branches

    def fails(self) -> list[Branch]:
        """The branches in which at least one keyword does not hold."""
        found = [branch for keyword in self._keywords() for branch in keyword.fails()]
        for name, other in (
            ("unevaluatedProperties", self._other_key_fails),
            ("unevaluatedItems", self._other_item_fails),
        ):
            if name in self.schema:
                denied = self.expander.deny(self.formula(name))
                parts = (keyword.holds() for keyword in self._keywords())
                for branch in self.expander.product(*parts):
                    found += other(branch, denied)
        return found

    def formula(self, *path: str | int) -> Formula:
        """The formula of a schema inside this one."""
        inner: Any = self.schema
        for part in path:
            inner = inner[part]
        return self.expander.formula(inner, self.resolver)

    @property
    def resolver(self) -> Resolver[Any]:
        """What references in this schema are relative to."""
        return self._resolver or self.expander.document.resolver

    def refuse(self, keyword: str, reason: str) -> Refused:
        """The error that a keyword of this schema cannot be enforced."""
        return Refused(join(self.pointer, keyword), reason)

    def _keywords(self) -> Iterator[Keyword]:
        """In the schema's own order, which is the order of the keys in what is generated."""
        groups = dict.fromkeys(_GROUPS[name] for name in self.schema if name in _GROUPS)
        for group in groups:
            yield from group(self)

    def _expand(self, formula: Formula) -> list[Branch]:
        return self.expander.expand_formula(formula, exact=self.exact)

    def _denied(self, formula: Formula) -> list[Branch]:
        return self.expander.expand_formula(self.expander.deny(formula))

    def _schema(self, formula: Formula) -> Keyword:
        return Keyword(lambda: self._expand(formula), lambda: self._denied(formula))

    def _references(self) -> Iterator[Keyword]:
        for name in ("$ref", "$dynamicRef"):
            if name in self.schema:
                at = join(self.pointer, name)
                found = self.expander.document.lookup(self.resolver, self.schema[name], at)
                target = self.expander.formula(found.contents, found.resolver, entered=True)
                yield self._schema(target)

    def _formulas(self, name: str) -> list[Formula]:
        return [self.formula(name, index) for index in range(len(self.schema[name]))]

    def _all_of(self) -> Iterator[Keyword]:
        yield from map(self._schema, self._formulas("allOf"))

    def _any_of(self) -> Iterator[Keyword]:
        options = self._formulas("anyOf")

        def holds() -> list[Branch]:
            if not self.exact:
                return [branch for option in options for branch in self._expand(option)]
            found: list[Branch] = []
            none = [Branch()]  # so far, no option holds
            for option in options:
                later = found
                found = self.expander.product(later, self._expand(option))
                found += self.expander.product(later, self._denied(option))
                found += self.expander.product(none, self._expand(option))
                none = self.expander.product(none, self._denied(option))
            return found

        yield Keyword(holds, lambda: self.expander.product(*map(self._denied, options)))

    def _one_of(self) -> Iterator[Keyword]:
        options = self._formulas("oneOf")

        def together(i: int, j: int) -> bool:
            return self.expander.possible(options[i] | options[j])

        def holds() -> list[Branch]:
            found: list[Branch] = []
            for i, option in enumerate(options):
                others = (
                    self._denied(other)
                    for j, other in enumerate(options)
                    if j != i and together(i, j)
                )
                found += self.expander.product(self._expand(option), *others)
            return found

        def fails() -> list[Branch]:
            found = self.expander.product(*map(self._denied, options))
            for i, option in enumerate(options):
                for j in range(i):
                    if together(i, j):
                        found += self.expander.product(
                            self._expand(option), self._expand(options[j])
                        )
            return found

        yield Keyword(holds, fails)

    def _not(self) -> Iterator[Keyword]:
        denied = self.formula("not")
        yield Keyword(lambda: self._denied(denied), lambda: self._expand(denied))

    def _if(self) -> Iterator[Keyword]:
        condition = self.formula("if")
        then, otherwise = (
            self.formula(name) if name in self.schema else ANYTHING for name in ("then", "else")
        )
        product = self.expander.product

        def holds() -> list[Branch]:
            if not self.exact and then == otherwise == ANYTHING:
                return [Branch()]
            yes = product(self._expand(condition), self._expand(then))
            return yes + product(self._denied(condition), self._expand(otherwise))

        def fails() -> list[Branch]:
            yes = product(self._expand(condition), self._denied(then))
            return yes + product(self._denied(condition), self._denied(otherwise))

        yield Keyword(holds, fails)

    def _dependent_schemas(self) -> Iterator[Keyword]:
        for name in self.schema["dependentSchemas"]:
            yield self._dependent_schema("dependentSchemas", name)

    def _dependencies(self) -> Iterator[Keyword]:
        if self.exact:  # whether its schemas evaluate keys is defined nowhere
            raise self.refuse(
                DEPENDENCIES,
                "cannot be enforced in a schema with unevaluatedProperties or -Items",
            )
        for name, value in self.schema[DEPENDENCIES].items():
            if isinstance(value, list):
                yield from dependent_required(self, name, value)
            else:
                yield self._dependent_schema(DEPENDENCIES, name)

    def _dependent_schema(self, keyword: str, name: str) -> Keyword:
        """Where the key ``name`` is, its schema under ``keyword`` holds."""
        formula = self.formula(keyword, name)
        never = ObjectSet((name,), ((KeySet(frozenset({name})), frozenset({self.expander.never})),))
        there = of_kind("object", object=ObjectSet((name,), required=frozenset({name})))

        def holds() -> list[Branch]:
            present = self.expander.product([there], self._expand(formula))
            return [restrict(object=never), *present]

        return Keyword(holds, lambda: self.expander.product([there], self._denied(formula)))

    def _scalars(self) -> Iterator[Keyword]:
        yield from scalar_keywords(self)

    def _arrays(self) -> Iterator[Keyword]:
        yield from array_keywords(self)

    def _objects(self) -> Iterator[Keyword]:
        yield from object_keywords(self)

    def _unevaluated_keys(self, branch: Branch) -> KeySet | None:
        if branch.evaluated.all_keys or "object" not in branch.kinds:
            return None
        names: frozenset[str] = frozenset()
        for keys in branch.evaluated.keys:
            names |= keys.names or frozenset()
        patterns = tuple(dict.fromkeys(p for keys in branch.evaluated.keys for p in keys.patterns))
        return KeySet(other_than=names, forbidden=patterns)

    def _other_keys(self, branch: Branch, rest: Formula) -> list[Branch]:
        keys = self._unevaluated_keys(branch)
        seen = Evaluated(all_keys=True)
        rules = ((keys, rest),) if keys is not None and rest != ANYTHING else ()
        return self.expander.product(
            [branch], [restrict(object=ObjectSet(rules=rules), evaluated=seen)]
        )

    def _other_key_fails(self, branch: Branch, denied: Formula) -> list[Branch]:
        keys = self._unevaluated_keys(branch)
        if keys is None:
            return []
        witness = of_kind("object", object=ObjectSet(witnesses=((keys, denied),)))
        return self.expander.product([branch], [witness])

    def _other_items(self, branch: Branch, rest: Formula) -> list[Branch]:
        seen = branch.evaluated
        if seen.all_items or "array" not in branch.kinds:
            return [replace(branch, evaluated=replace(seen, all_items=True))]
        rest = self.expander.either([rest, *seen.matching]) if seen.matching else rest
        array = ArraySet((ANYTHING,) * seen.items, rest)
        return self.expander.product(
            [branch], [restrict(array=array, evaluated=Evaluated(all_items=True))]
        )

    def _other_item_fails(self, branch: Branch, denied: Formula) -> list[Branch]:
        seen = branch.evaluated
        if seen.all_items or "array" not in branch.kinds:
            return []
        for formula in seen.matching:
            denied |= self.expander.deny(formula)
        array = ArraySet(contains=(Contains(denied, start=seen.items),))
        return self.expander.product([branch], [of_kind("array", array=array)])


_GROUPS: dict[str, Callable[[Keywords], Iterator[Keyword]]] = {
    "$ref": Keywords._references,
    "$dynamicRef": Keywords._references,
    "allOf": Keywords._all_of,
    "anyOf": Keywords._any_of,
    "oneOf": Keywords._one_of,
    "not": Keywords._not,
    "if": Keywords._if,
    "dependentSchemas": Keywords._dependent_schemas,
    DEPENDENCIES: Keywords._dependencies,
    **dict.fromkeys(
        ("type", "const", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
         "multipleOf", "minLength", "maxLength", "pattern", "format"),
        Keywords._scalars,
    ),
    **dict.fromkeys(
        ("prefixItems", "items", "contains", "minItems", "maxItems", "uniqueItems"),
        Keywords._arrays,
    ),
    **dict.fromkeys(
        ("properties", "patternProperties", "additionalProperties", "required", "minProperties",
         "maxProperties", "propertyNames", "dependentRequired"),
        Keywords._objects,
    ),
}  # fmt: skip
