"""Sets of strings, and the expressions of their JSON spelling."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .charset import ANY
from .pattern import Pattern

# What a character in a string is spelled like.
CHARACTER = ANY.text()


@dataclass(frozen=True, slots=True)
class StringSet:
    """Strings for which all conditions hold.

    Lengths in characters; ``values``: one of these; ``excluded``: none of these.
    """

    min_length: int = 0
    max_length: int | None = None
    patterns: tuple[Pattern, ...] = ()
    forbidden: tuple[Pattern, ...] = ()
    values: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()

    def intersect(self, other: StringSet) -> StringSet | None:
        """The strings in both; None when that is plainly none (not all cases are seen)."""
        values = self.values
        if other.values is not None:
            values = other.values if values is None else values & other.values
        highs = [h for h in (self.max_length, other.max_length) if h is not None]
        merged = StringSet(
            max(self.min_length, other.min_length),
            min(highs, default=None),
            tuple(dict.fromkeys(self.patterns + other.patterns)),
            tuple(dict.fromkeys(self.forbidden + other.forbidden)),
            values,
            self.excluded | other.excluded,
        )
        if values is not None:
            left = frozenset(filter(merged.contains, values))
            return StringSet(values=left) if left else None
        if merged.max_length is not None and merged.min_length > merged.max_length:
            return None
        return None if set(merged.patterns) & set(merged.forbidden) else merged

    def contains(self, text: str) -> bool:
        """Whether a string is in the set."""
        return (
            (self.values is None or text in self.values)
            and text not in self.excluded
            and len(text) >= self.min_length
            and (self.max_length is None or len(text) <= self.max_length)
            and all(pattern.matches(text) for pattern in self.patterns)
            and not any(pattern.matches(text) for pattern in self.forbidden)
        )

    @property
    def unsure(self) -> bool:
        """Whether the set may be empty although it does not look so."""
        conditions = len(self.patterns) + len(self.forbidden) + bool(self.excluded)
        bounded = self.min_length > 0 or self.max_length is not None
        return self.values is None and conditions > 0 and conditions + bounded > 1

    def content(self) -> str:
        """A Lark expression for what stands between the quotes."""
        if self.values is not None:
            return "/" + "|".join(map(spelled, sorted(self.values))) + "/"
        bounded = self.min_length > 0 or self.max_length is not None
        high = "" if self.max_length is None else str(self.max_length)
        terms = [f"({pattern.expression})" for pattern in self.patterns]
        if bounded or not terms:
            terms.append(f"/{CHARACTER}{{{self.min_length},{high}}}/")
        terms += [f"~({pattern.expression})" for pattern in self.forbidden]
        if self.excluded:
            terms.append("~/" + "|".join(map(spelled, sorted(self.excluded))) + "/")
        return " & ".join(terms)


def spelled(text: str) -> str:
    """A regular expression for the JSON spelling of exactly this string."""
    inner = json.dumps(text, ensure_ascii=False)[1:-1]
    return (
        "".join(c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in inner) or "(?:)"
    )
