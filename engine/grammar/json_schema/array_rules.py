"""Grammar rules of arrays."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from .errors import Refused, TooComplex
from .rules import Production, Repeat, Symbol
from .shapes import ArraySet, Contains, Formula

if TYPE_CHECKING:
    from .emitter import Emitter

_MAX_STATES = 2_000
# Values of which an array without duplicates may be made: as many as llguidance's
# parametric rules have bits.
_MAX_UNIQUE = 64


class ArrayRules:
    """Makes the rules of arrays."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._tails: dict[str, str] = {}
        self._made: dict[ArraySet, str] = {}

    def rule(self, array: ArraySet) -> str:
        """The rule of a set of arrays."""
        name = self._made.get(array)
        if name is None:
            name = self._made[array] = self._emitter.rules.name("a")
            if array.unique and (array.high is None or array.high > 1):
                self._unique(name, array)
            elif array.contains:
                inner = _Counting(self._emitter, self, array).rule()
                self._emitter.rules.add(name, [("OPEN_ARRAY", inner, "CLOSE_ARRAY")])
            else:
                inner = self._plain(array)
                self._emitter.rules.add(name, [("OPEN_ARRAY", inner, "CLOSE_ARRAY")])
        return name

    def tail(self, item: str) -> str:
        """The rule of a comma and an item."""
        name = self._tails.get(item)
        if name is None:
            name = self._tails[item] = self._emitter.rules.name("t")
            self._emitter.rules.add(name, [("COMMA", item)])
        return name

    def items(self, item: str, low: int, high: int | None, *, started: bool) -> list[Production]:
        """``low`` to ``high`` further items, all alike."""
        if high is not None and (high < low or high < 0):
            return []
        if started:
            return [(Repeat(self.tail(item), low, high),)]
        found: list[Production] = [()] if low == 0 else []
        if high is None or high > 0:
            rest = Repeat(self.tail(item), max(low - 1, 0), None if high is None else high - 1)
            found.append((item, rest))
        return found

    def _plain(self, array: ArraySet) -> str:
        """Items one by one up to the end of the prefix, then all alike."""
        rules, size = self._emitter.rules, len(array.prefix)
        high = None if array.high is None else array.high - size
        item = self._emitter.value(array.rest)
        productions = self.items(item, max(array.low - size, 0), high, started=size > 0)
        following = rules.add(rules.name("i"), productions)
        for index in reversed(range(size)):
            stop: list[Production] = [()] if index >= array.low else []
            if array.high is None or index < array.high:
                comma: Production = ("COMMA",) if index else ()
                value = self._emitter.value(array.prefix[index])
                stop.append((*comma, value, following))
            following = rules.add(rules.name("i"), stop)
        return following

    def _unique(self, name: str, array: ArraySet) -> None:
        """All items alike and of few values: a parametric rule marks the values used."""
        at = self._emitter.expander.seen.get("uniqueItems", "#")
        if array.prefix or array.contains:
            raise Refused(at, "cannot be enforced together with prefixItems or contains")
        values = self._emitter.scalars(array.rest, _MAX_UNIQUE)
        if values is None:
            raise Refused(
                at, f"can be enforced for items of at most {_MAX_UNIQUE} known values only"
            )
        high = len(values) if array.high is None else min(array.high, len(values))
        if array.low > high:
            self._emitter.rules.add(name, [])
            return
        first, rest = f"{name}f", f"{name}r"
        close = f"CLOSE_ARRAY  %if bit_count_ge(_, {array.low})"
        options = [self._emitter.rules.terminal(value) for value in values]
        fresh = f"%if and(bit_clear({{}}), bit_count_lt(_, {high}))"
        lines = [
            f"{name}: OPEN_ARRAY  {first}::0x0",
            f"{first}::_ : " + " | ".join(
                [close, *(f" {t}  {rest}::set_bit({i})" for i, t in enumerate(options))]
            ),
            f"{rest}::_ : " + " | ".join(
                [close, *(f" COMMA  {t}  {rest}::set_bit({i}) {fresh.format(i)}"
                          for i, t in enumerate(options))]
            ),
        ]  # fmt: skip
        self._emitter.rules.add_raw(name, " " + "\n".join(lines).replace("\n", "\n "))


class _Counting:
    """Arrays whose items are counted by ``contains``: a state machine over (position, counts).

    An item that is counted conforms to the formula; one that is not counted must not conform
    only where there is an upper bound.
    """

    def __init__(self, emitter: Emitter, arrays: ArrayRules, array: ArraySet) -> None:
        self._emitter = emitter
        self._arrays = arrays
        self._array = array
        bounds = [array.low, 0 if array.high is None else array.high]
        starts = [counted.start for counted in array.contains]
        self._last = max(len(array.prefix), *starts, *bounds, 1)
        self._names: dict[tuple[int, tuple[int, ...]], str] = {}

    def rule(self) -> str:
        """The rule of what stands between the brackets."""
        return self._state(0, (0,) * len(self._array.contains))

    def _state(self, position: int, counts: tuple[int, ...]) -> str:
        key = (position, counts)
        name = self._names.get(key)
        if name is not None:
            return name
        if len(self._names) >= _MAX_STATES:
            raise TooComplex("counts too many items")
        rules, array = self._emitter.rules, self._array
        name = self._names[key] = rules.name("c")
        productions: list[Production] = []
        loops: list[Production] = []
        if position >= array.low and all(map(_satisfied, array.contains, counts)):
            productions.append(())
        if array.high is None or position < array.high:
            for after, formula in self._steps(position, counts):
                comma: Production = ("COMMA",) if position else ()
                item: Production = (*comma, self._emitter.value(formula))
                if after == key:
                    loops.append(item)
                else:
                    productions.append((*item, self._state(*after)))
        if loops:
            loop: Symbol = Repeat(rules.add(rules.name("l"), loops), 0, None)
            productions = [(loop, *production) for production in productions]
        rules.add(name, productions)
        return name

    def _steps(
        self, position: int, counts: tuple[int, ...]
    ) -> list[tuple[tuple[int, tuple[int, ...]], Formula]]:
        """What an item at a position may be, and the state after it."""
        array, deny = self._array, self._emitter.expander.deny
        choices: list[list[tuple[int, Formula]]] = []
        for counted, count in zip(array.contains, counts, strict=True):
            if position < counted.start:
                choices.append([(count, frozenset())])
            elif counted.high is None:
                hit = [(count + 1, counted.formula)] if count < counted.low else []
                choices.append([*hit, (count, frozenset())])
            else:
                hit = [(count + 1, counted.formula)] if count < counted.high else []
                choices.append([*hit, (count, deny(counted.formula))])
        last = self._last if array.high is None else array.high
        found = []
        for choice in product(*choices):
            formula = array.item(position).union(*(extra for _, extra in choice))
            after = (min(position + 1, last), tuple(count for count, _ in choice))
            found.append((after, formula))
        return found


def _satisfied(counted: Contains, count: int) -> bool:
    return count >= counted.low
