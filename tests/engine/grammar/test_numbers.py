"""Number ranges as regular expressions, against arithmetic."""

from __future__ import annotations

import itertools
import re
from decimal import Decimal
from fractions import Fraction

import pytest

from mlxforge.engine.grammar.json_schema.numbers import (
    PLAIN_NUMBER,
    Bound,
    NumberSet,
    at_least,
    at_most,
)

MAGNITUDES = [
    "0", "1", "9", "10", "99", "100", "101", "0.5", "0.05", "0.95", "1.5", "1.05", "12.34",
    "12.03", "123.456", "999.99", "1000", "7", "0.001", "19.9",
]  # fmt: skip
VALUES = [Decimal(sign + value) for value in MAGNITUDES for sign in ("", "-")]
STEPS = ["0", "1", "-1", "0.1", "-0.1", "0.01", "-0.001", "5", "-9", "0.0001", "-10"]


def spellings() -> list[str]:
    texts = {f"{value + Decimal(step):f}" for value in VALUES for step in STEPS}
    texts |= {f"{text}0" for text in texts if "." in text}
    texts |= {f"{text}.0" for text in texts if "." not in text}
    return sorted(t for t in texts | {"-0", "-0.0"} if re.fullmatch(PLAIN_NUMBER, t))


TEXTS = spellings()


@pytest.mark.parametrize("value", VALUES, ids=str)
@pytest.mark.parametrize("open_", [False, True], ids=["closed", "open"])
def test_bounds_match_exactly_what_they_say(value: Decimal, open_: bool) -> None:
    low = re.compile(at_least(Bound(value, open_)))
    high = re.compile(at_most(Bound(value, open_)).replace("[a--a]", "(?!)"))
    for text in TEXTS:
        number = Decimal(text)
        above = number > value or (number == value and not open_)
        below = number < value or (number == value and not open_)
        assert bool(low.fullmatch(text)) == above, text
        assert bool(high.fullmatch(text)) == below, text


def test_sets_are_simplified_to_what_is_in_them() -> None:
    pairs = itertools.product(
        (None, "-1.5", "0", "2"), (None, "-1.5", "1", "2"), (None, True, False)
    )
    probes = [Decimal(n) / 4 for n in range(-12, 13)]
    for low, high, integer in pairs:
        numbers = NumberSet(
            Bound(Decimal(low)) if low else None, Bound(Decimal(high)) if high else None, integer
        )
        inside = [probe for probe in probes if numbers.contains(probe)]
        simple = numbers.simplify()
        found = [] if simple is None else [p for p in probes if simple.contains(p)]
        assert found == inside


@pytest.mark.parametrize(
    ("steps", "step"), [([3], 3), ([2, 3], 6), ([0.5], 0.5), ([0.5, 3], 3), ([0.2, 0.3], 0.6)]
)
def test_multiples_are_combined(steps: list[float], step: float) -> None:
    fractions = tuple(Fraction(str(value)) for value in steps)
    simple = NumberSet(multiples=fractions).simplify()
    assert simple is not None and simple.step == Fraction(str(step))
