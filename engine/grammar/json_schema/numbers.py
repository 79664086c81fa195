"""Sets of numbers, and the regular expressions of their decimal spelling.

Constrained numbers are written without an exponent: ``-?(0|[1-9][0-9]*)(.[0-9]+)?``, with at
most 20 decimal places, so that a model cannot run away in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, lcm

from .errors import TooComplex

_INTEGER = r"(?:0|[1-9][0-9]*)"
# Digits of a bound beyond which its expression gets large.
_MAX_DIGITS = 60
# Unconstrained numbers may have an exponent, short enough not to overflow a double.
ANY_NUMBER = rf"-?{_INTEGER}(?:\.[0-9]{{1,20}})?(?:[eE][-+]?[0-9]{{1,2}})?"
_BOUNDED_NUMBER = rf"-?{_INTEGER}(?:\.[0-9]{{1,20}})?"
PLAIN_NUMBER = rf"-?{_INTEGER}(?:\.[0-9]+)?"


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of an interval; ``open``: the value itself is outside."""

    value: Decimal
    open: bool = False


@dataclass(frozen=True, slots=True)
class NumberSet:
    """Numbers between two bounds, of which all conditions hold.

    ``integer``: True, only integers; False, only others. ``values``: one of these;
    ``excluded``: none of these. ``multiples``: a multiple of each.
    """

    low: Bound | None = None
    high: Bound | None = None
    integer: bool | None = None
    multiples: tuple[Fraction, ...] = ()
    values: frozenset[Decimal] | None = None
    excluded: frozenset[Decimal] = frozenset()

    def intersect(self, other: NumberSet) -> NumberSet | None:
        """The numbers in both; None when there are none."""
        if self.integer is not None and other.integer is not None:
            if self.integer != other.integer:
                return None
            integer: bool | None = self.integer
        else:
            integer = other.integer if self.integer is None else self.integer
        values = self.values
        if other.values is not None:
            values = other.values if values is None else values & other.values
        merged = NumberSet(
            _tighter(self.low, other.low, lambda a, b: a > b),
            _tighter(self.high, other.high, lambda a, b: a < b),
            integer,
            tuple(dict.fromkeys(self.multiples + other.multiples)),
            values,
            self.excluded | other.excluded,
        )
        return merged.simplify()

    def simplify(self) -> NumberSet | None:
        """An equal set in its shortest form; None when it is empty."""
        if self.values is not None:
            values = frozenset(filter(self.contains, self.values))
            return NumberSet(values=values) if values else None
        step = self.step
        multiples = () if step is None or (self.integer and step == 1) else (step,)
        result = replace(self, multiples=multiples, integer=self._integer(step))
        return None if result is None or result._empty() else result

    def _integer(self, step: Fraction | None) -> bool | None:
        return True if step is not None and step.denominator == 1 else self.integer

    @property
    def step(self) -> Fraction | None:
        """All numbers of the set are multiples of this; None: no such condition."""
        steps = [*self.multiples, *([Fraction(1)] if self.integer else [])]
        if not steps:
            return None
        common = lcm(*(step.denominator for step in steps))
        return Fraction(lcm(*(int(step * common) for step in steps)), common)

    def contains(self, value: Decimal) -> bool:
        """Whether a number is in the set."""
        if self.values is not None and value not in self.values:
            return False
        whole = value == value.to_integral_value()
        return (
            value not in self.excluded
            and (self.integer is None or self.integer == whole)
            and all(Fraction(value) % step == 0 for step in self.multiples)
            and (self.low is None or value > self.low.value or _touches(self.low, value))
            and (self.high is None or value < self.high.value or _touches(self.high, value))
        )

    def members(self, limit: int) -> list[Decimal] | None:
        """All numbers of the set, in order, when there are at most ``limit``; else None."""
        if self.values is not None:
            return sorted(self.values) if len(self.values) <= limit else None
        step = self.step
        if self.low is None or self.high is None:
            return None
        if step is None:
            value = self.low.value
            return [value] if self.high.value == value and self.contains(value) else None
        first, last = self._first_last(step)
        if last - first >= limit + len(self.excluded):
            return None
        found = (step * k for k in range(first, last + 1))
        members = [Decimal(v.numerator) / Decimal(v.denominator) for v in found]
        return [value for value in members if self.contains(value)]

    def _first_last(self, step: Fraction) -> tuple[int, int]:
        """Smallest and largest factor of ``step`` within the bounds; both must be there."""
        if self.low is None or self.high is None:
            raise ValueError("unbounded")
        first = ceil(Fraction(self.low.value) / step)
        last = floor(Fraction(self.high.value) / step)
        if self.low.open and step * first == Fraction(self.low.value):
            first += 1
        if self.high.open and step * last == Fraction(self.high.value):
            last -= 1
        return first, last

    def _empty(self) -> bool:
        if self.integer is False and self.step is not None and self.step.denominator == 1:
            return True
        if self.low is None or self.high is None:
            return False
        low, high = self.low, self.high
        if low.value > high.value or (low.value == high.value and (low.open or high.open)):
            return True
        if low.value == high.value:
            return not self.contains(low.value)
        return self.members(64) == []

    @property
    def unconstrained(self) -> bool:
        """Whether every number is in it."""
        return self == NumberSet()

    def terms(self) -> list[str]:
        """Expressions between slashes, all of which must match; ``multiples`` aside."""
        if self.unconstrained:
            return [f"/{ANY_NUMBER}/"]
        if self.values is not None:
            return ["/" + "|".join(map(_shortest, sorted(self.values))) + "/"]
        terms = [f"/-?{_INTEGER}/" if self.integer else f"/{_BOUNDED_NUMBER}/"]
        if self.integer is False:
            terms.append(rf"/-?{_INTEGER}\.[0-9]*[1-9][0-9]*/")
        if self.low is not None:
            terms.append(f"/{at_least(self.low)}/")
        if self.high is not None:
            terms.append(f"/{at_most(self.high)}/")
        terms += [f"~/{_exactly(value)}/" for value in sorted(self.excluded)]
        return terms


def _touches(bound: Bound, value: Decimal) -> bool:
    return not bound.open and bound.value == value


def _tighter(
    a: Bound | None, b: Bound | None, beyond: Callable[[Decimal, Decimal], bool]
) -> Bound | None:
    if a is None or b is None:
        return a or b
    if a.value == b.value:
        return Bound(a.value, a.open or b.open)
    return a if beyond(a.value, b.value) else b


def _digits(value: Decimal) -> tuple[str, str]:
    """Integer and fraction digits of a magnitude, no zeros at either outer end."""
    if abs(value.adjusted()) > _MAX_DIGITS or len(value.as_tuple().digits) > _MAX_DIGITS:
        raise TooComplex(f"the number {value:.3e} has more than {_MAX_DIGITS} digits")
    whole, _, fraction = f"{abs(value):f}".partition(".")
    return whole.lstrip("0"), fraction.rstrip("0")


def _exactly(value: Decimal) -> str:
    whole, fraction = _digits(value)
    sign = "-?" if value == 0 else "-" if value < 0 else ""
    tail = rf"\.{fraction}0*" if fraction else r"(?:\.0+)?"
    return f"{sign}{whole or '0'}{tail}"


def _shortest(value: Decimal) -> str:
    whole, fraction = _digits(value)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole or '0'}" + (rf"\.{fraction}" if fraction else "")


def at_least(bound: Bound) -> str:
    """Numbers not below a bound (above it, when open)."""
    if bound.value > 0 or (bound.value == 0 and bound.open):
        return _magnitude_above(bound)
    if bound.value == 0:
        return rf"{PLAIN_NUMBER[2:]}|-0(?:\.0+)?"
    return rf"{PLAIN_NUMBER[2:]}|-(?:{_magnitude_below(bound)})"


def at_most(bound: Bound) -> str:
    """Numbers not above a bound (below it, when open)."""
    if bound.value < 0 or (bound.value == 0 and bound.open):
        return rf"-(?:{_magnitude_above(bound)})"
    if bound.value == 0:
        return rf"-{PLAIN_NUMBER[2:]}|0(?:\.0+)?"
    return rf"-{PLAIN_NUMBER[2:]}|{_magnitude_below(bound)}"


def _magnitude_above(bound: Bound) -> str:
    """Unsigned numbers whose value is above |bound|, or equal when closed."""
    whole, fraction = _digits(bound.value)
    greater = [rf"[1-9][0-9]{{{len(whole)},}}" + r"(?:\.[0-9]+)?"]
    for index, digit in enumerate(whole):
        if digit != "9":
            rest = len(whole) - index - 1
            greater.append(rf"{whole[:index]}[{int(digit) + 1}-9][0-9]{{{rest}}}(?:\.[0-9]+)?")
    tails = [
        rf"{fraction[:index]}[{int(digit) + 1}-9][0-9]*"
        for index, digit in enumerate(fraction)
        if digit != "9"
    ]
    tails.append(f"{fraction}[0-9]*[1-9][0-9]*")
    if not bound.open and fraction:
        tails.append(f"{fraction}0*")
    greater.append(rf"{whole or '0'}\.(?:{'|'.join(tails)})")
    if not bound.open and not fraction:
        greater.append(rf"{whole or '0'}(?:\.0+)?")
    return "|".join(greater)


def _magnitude_below(bound: Bound) -> str:
    """Unsigned numbers whose value is below |bound|, or equal when closed."""
    whole, fraction = _digits(bound.value)
    less = []
    if whole:
        shorter = [r"0"] + ([rf"[1-9][0-9]{{0,{len(whole) - 2}}}"] if len(whole) > 1 else [])
        less.append(rf"(?:{'|'.join(shorter)})(?:\.[0-9]+)?")
    for index, digit in enumerate(whole):
        lowest = 1 if index == 0 else 0
        if int(digit) > lowest:
            rest = len(whole) - index - 1
            less.append(rf"{whole[:index]}[{lowest}-{int(digit) - 1}][0-9]{{{rest}}}(?:\.[0-9]+)?")
    tails = [
        rf"{fraction[:index]}[0-{int(digit) - 1}][0-9]*"
        for index, digit in enumerate(fraction)
        if digit != "0"
    ]
    # A proper beginning of the fraction's digits is smaller, as the last one is no zero.
    tails += [fraction[:index] for index in range(1, len(fraction))]
    if tails:
        less.append(rf"{whole or '0'}\.(?:{'|'.join(tails)})")
    if fraction:
        less.append(whole or "0")
    if not bound.open:
        less.append(_exactly(abs(bound.value)))
    return "|".join(less) or "[a--a]"
