"""Formulas to grammar rules."""

from __future__ import annotations

import json

from .array_rules import ArrayRules
from .document import Document, parse
from .errors import Refused, TooComplex
from .expander import Expander
from .numbers import NumberSet
from .object_rules import ObjectRules
from .rules import Production, Rules, matches_something
from .shapes import Branch, Formula
from .strings import StringSet

_MAX_VALUES = 4_000
_MEMBERS = 64
_MAX_STEP = 20_000
# Strings without quotes: no mark can begin in them, white space is trimmed by those who read
# them, and some take "null" for more than a word.
_RAW = r"/[^<\s](?:[^<]*[^<\s])?/ & ~/[nN][uU][lL][lL]/"
# Characters that a JSON string spells as themselves.
_SAME = r"/[^\x22\x5c\x00-\x1f}]*/"


class Emitter:
    """Makes one grammar. ``value`` names the rule of a formula, made when its turn comes."""

    def __init__(self, document: Document, prefix: str = "") -> None:
        self.rules = Rules(prefix)
        self._nonempty: dict[StringSet, bool] = {}
        self.expander = Expander(document, self.string_possible)
        self._values: dict[Formula, str] = {}
        self._todo: list[Formula] = []
        self._arrays = ArrayRules(self)
        self._objects = ObjectRules(self)

    def grammar(self) -> tuple[str, list[str]]:
        """The start rule and all lines. Raises ``Refused``, ``TooComplex``."""
        start = self.value(self.expander.root())
        while self._todo:
            formula = self._todo.pop()
            self.rules.add(self._values[formula], self._productions(formula))
        lines = self.rules.lines(start)
        if lines is None:
            raise Refused("#", "no value conforms to the schema")
        return start, lines

    def raw_string(self) -> tuple[str, list[str]]:
        """The same for a schema of strings, written without quotes and escapes.

        That is the same text where a string has neither quotes nor backslashes nor control
        characters; strings without any condition may have these too.
        """
        options = []
        for branch in self.expander.branches(self.expander.root()):
            if branch.kinds != {"string"}:
                raise Refused("#", "is not a schema of strings")
            free = branch.string == StringSet()
            shape = _RAW if free else f"{_RAW} & {_SAME} & ({branch.string.content()})"
            if not matches_something(f"({shape})"):
                continue
            options.append(f"({shape})")
        if not options:
            raise Refused("#", "no string conforms to the schema that can be written so")
        name = self.rules.terminal(" | ".join(options))
        return name, [f"{name}: {self.rules.terminals[name]}"]

    def value(self, formula: Formula) -> str:
        """The rule of the values that conform to a formula."""
        name = self._values.get(formula)
        if name is None:
            if len(self._values) >= _MAX_VALUES:
                raise TooComplex(f"has more than {_MAX_VALUES} kinds of values")
            name = self._values[formula] = self.rules.name("v")
            self._todo.append(formula)
        return name

    def array_items(
        self, item: str, low: int, high: int | None, *, started: bool
    ) -> list[Production]:
        """``low`` to ``high`` further items of an array or keys of an object, all alike."""
        return self._arrays.items(item, low, high, started=started)

    def string_possible(self, strings: StringSet) -> bool:
        """Whether any string is of a set."""
        found = self._nonempty.get(strings)
        if found is None:
            found = not strings.unsure or matches_something(strings.content())
            self._nonempty[strings] = found
        return found

    def scalars(self, formula: Formula, limit: int) -> list[str] | None:
        """The expressions of all values, when they are few and no arrays or objects."""
        found: dict[str, None] = {}
        for branch in self.expander.branches(formula):
            if branch.kinds & {"array", "object"}:
                return None
            if "number" in branch.kinds:
                numbers = branch.number.members(limit)
                if numbers is None:
                    return None
                for number in numbers:
                    found[_terms(NumberSet(values=frozenset({number})))] = None
            if "string" in branch.kinds:
                if branch.string.values is None:
                    return None
                for text in sorted(branch.string.values):
                    found[_quoted(StringSet(values=frozenset({text})))] = None
            found |= dict.fromkeys(f"/{kind}/" for kind in _literals(branch))
        return list(found) if len(found) <= limit else None

    def _productions(self, formula: Formula) -> list[Production]:
        scalars: dict[str, None] = {}
        productions: list[Production] = []
        for branch in self.expander.branches(formula):
            scalars |= dict.fromkeys(f"/{kind}/" for kind in _literals(branch))
            if "number" in branch.kinds:
                if branch.number.multiples:
                    productions.append((self._multiples(branch.number),))
                else:
                    scalars[_terms(branch.number)] = None
            if "string" in branch.kinds and self.string_possible(branch.string):
                scalars[_quoted(branch.string)] = None
            if "array" in branch.kinds:
                productions.append((self._arrays.rule(branch.array),))
            if "object" in branch.kinds:
                productions += self._objects.productions(branch.object)
        if scalars:
            productions.insert(0, (self.rules.terminal(" | ".join(scalars)),))
        return productions

    def _multiples(self, numbers: NumberSet) -> str:
        """A rule for multiples, by llguidance's own automaton for them."""
        members = numbers.members(_MEMBERS)
        if members is not None:
            return self.rules.terminal(_terms(NumberSet(values=frozenset(members))))
        step = numbers.step
        at = self.expander.seen.get("multipleOf", "#")
        if step is None or numbers.excluded or numbers.integer is False:
            raise Refused(at, "cannot be enforced together with excluded numbers")
        # The automaton has a state for each remainder, in units of the last decimal place.
        places = next((n for n in range(7) if 10**n % step.denominator == 0), None)
        if places is None or step * 10**places > _MAX_STEP:
            raise Refused(at, "has too many digits to be enforced")
        schema: dict[str, object] = {
            "x-guidance": {"whitespace_flexible": False},
            "type": "integer" if step.denominator == 1 else "number",
            "multipleOf": float(step),
        }
        for bound, name in ((numbers.low, "minimum"), (numbers.high, "maximum")):
            if bound is not None:
                if len(bound.value.as_tuple().digits) > 15:
                    raise Refused(at, "cannot be enforced with bounds of more than 15 digits")
                key = f"exclusive{name.capitalize()}" if bound.open else name
                schema[key] = float(bound.value)
        name = self.rules.name("m")
        return self.rules.add_raw(name, f"{name}: %json {json.dumps(schema)}")


def _literals(branch: Branch) -> list[str]:
    return sorted(branch.kinds & {"null", "false", "true"})


def _terms(numbers: NumberSet) -> str:
    return f"({' & '.join(numbers.terms())})"


def _quoted(strings: StringSet) -> str:
    return f"(/\\x22/ ({strings.content()}) /\\x22/)"


def compile_parts(text: str, prefix: str) -> tuple[str, list[str]]:
    """The start rule and the Lark lines of a JSON Schema's values, for use in a larger grammar.

    Raises ``Refused``, ``TooComplex``.
    """
    return Emitter(Document(parse(text)), prefix).grammar()


def compile_raw(text: str, prefix: str) -> tuple[str, list[str]]:
    """The same for strings that are written without quotes."""
    return Emitter(Document(parse(text)), prefix).raw_string()


def compile_schema(text: str) -> str:
    """The Lark grammar of a JSON Schema's values. Raises ``Refused``, ``TooComplex``."""
    start, lines = compile_parts(text, "")
    return "\n".join([f"start: {start}", *lines]) + "\n"
