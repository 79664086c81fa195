"""Sets of characters, and how each character is spelled inside a JSON string.

Constrained JSON text spells every character in one way only, so that regular expressions
over strings can be intersected and negated as expressions over the text: quote, backslash
and control characters escaped (the short form where there is one), all others as themselves.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

Range = tuple[int, int]

_LAST = 0x10FFFF
_SHORT = {0x22: '"', 0x5C: "\\", 0x08: "b", 0x0C: "f", 0x0A: "n", 0x0D: "r", 0x09: "t"}
ESCAPED = frozenset([0x22, 0x5C, *range(0x20)])

# General categories by their long names (Unicode 16, PropertyValueAliases.txt, gc).
_CATEGORIES = {
    "Letter": "L", "Cased_Letter": "LC", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll",
    "Titlecase_Letter": "Lt", "Modifier_Letter": "Lm", "Other_Letter": "Lo", "Mark": "M",
    "Nonspacing_Mark": "Mn", "Spacing_Mark": "Mc", "Enclosing_Mark": "Me", "Number": "N",
    "Decimal_Number": "Nd", "digit": "Nd", "Letter_Number": "Nl", "Other_Number": "No",
    "Punctuation": "P", "punct": "P", "Connector_Punctuation": "Pc", "Dash_Punctuation": "Pd",
    "Open_Punctuation": "Ps", "Close_Punctuation": "Pe", "Initial_Punctuation": "Pi",
    "Final_Punctuation": "Pf", "Other_Punctuation": "Po", "Symbol": "S", "Math_Symbol": "Sm",
    "Currency_Symbol": "Sc", "Modifier_Symbol": "Sk", "Other_Symbol": "So", "Separator": "Z",
    "Space_Separator": "Zs", "Line_Separator": "Zl", "Paragraph_Separator": "Zp",
}  # fmt: skip
_SHORT_CATEGORIES = frozenset(_CATEGORIES.values())
_BINARY = frozenset({"Alphabetic", "Uppercase", "Lowercase", "Ideographic", "Emoji"})


def merge(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same characters as sorted ranges that neither touch nor overlap."""
    merged: list[Range] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """All other code points."""
    result, start = [], 0
    for low, high in merge(ranges):
        if low > start:
            result.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        result.append((start, _LAST))
    return tuple(result)


def _without_surrogates(ranges: Iterable[Range]) -> tuple[Range, ...]:
    return complement([*complement(ranges), (0xD800, 0xDFFF)])


@dataclass(frozen=True, slots=True)
class CharSet:
    """One character of ``ranges`` or of one of the Unicode ``properties``, or of neither.

    ``properties`` are spelled as Rust's regex crate takes them, without ``\\p``.
    """

    ranges: tuple[Range, ...] = ()
    properties: tuple[str, ...] = ()
    negated: bool = False

    def negate(self) -> CharSet:
        """All other characters."""
        if self.properties:
            return CharSet(self.ranges, self.properties, not self.negated)
        return CharSet(complement(self.ranges))

    def union(self, other: CharSet) -> CharSet:
        """The characters of either. Raises ``ValueError`` for negated properties."""
        if self.negated or other.negated:
            raise ValueError("a negated property inside a character class")
        return CharSet(merge(self.ranges + other.ranges), self.properties + other.properties, False)

    def __contains__(self, code: int) -> bool:
        """Exact for the escaped characters, the only ones asked for when there are properties."""
        inside = any(low <= code <= high for low, high in self.ranges) or any(
            _has_property(code, name) for name in self.properties
        )
        return inside != self.negated

    @property
    def empty(self) -> bool:
        """Whether no character is in it."""
        return not self.properties and not _without_surrogates(self.ranges)

    def text(self) -> str:
        """A regular expression for the JSON spelling of one of the characters."""
        if self.empty:
            return "[a--a]"
        parts = []
        plain = self._plain()
        if plain:
            parts.append(plain)
        escapes = _escapes([code for code in sorted(ESCAPED) if code in self])
        parts += [escapes] if escapes else []
        return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"

    def pattern(self) -> str:
        """A character class for Python's ``regex`` module, over the decoded string."""
        if self.empty:
            return "(?!)"
        spans = (f"\\U{low:08x}-\\U{high:08x}" for low, high in self.ranges)
        body = "".join(spans) + "".join(f"\\p{{{p}}}" for p in self.properties)
        return f"[{'^' if self.negated else ''}{body}]"

    def _plain(self) -> str:
        if not self.properties:
            hidden = [(code, code) for code in ESCAPED]
            safe = _without_surrogates(complement([*complement(self.ranges), *hidden]))
            return f"[{_class_body(safe)}]" if safe else ""
        properties = "".join(f"\\p{{{name}}}" for name in self.properties)
        inner = f"[{'^' if self.negated else ''}{_class_body(self.ranges)}{properties}]"
        return f"[{inner}&&[^\\x22\\x5c\\x00-\\x1f]]"


def _class_body(ranges: Iterable[Range]) -> str:
    return "".join(
        f"\\x{{{low:x}}}" if low == high else f"\\x{{{low:x}}}-\\x{{{high:x}}}"
        for low, high in ranges
    )


def _escapes(codes: Iterable[int]) -> str:
    """The escape sequences of some characters; empty for none."""
    short = "".join(f"\\x{{{ord(_SHORT[c]):x}}}" for c in codes if c in _SHORT)
    long = [f"{c:02x}" for c in codes if c not in _SHORT]
    digits = {high: "".join(c[1] for c in long if c[0] == high) for high in "01"}
    groups = [f"{high}[{low}]" for high, low in digits.items() if low]
    options = ([f"[{short}]"] if short else []) + ([f"u00(?:{'|'.join(groups)})"] if groups else [])
    return f"\\x5c(?:{'|'.join(options)})" if options else ""


def _has_property(code: int, name: str) -> bool:
    """Whether an ASCII punctuation or control character has a property."""
    category = unicodedata.category(chr(code))
    if name == "ASCII":
        return True
    return name in _SHORT_CATEGORIES and category.startswith(name)


def property_set(name: str) -> CharSet:
    """The characters of ``\\p{name}``. Raises ``ValueError`` for properties not known here."""
    key, _, value = name.rpartition("=")
    if key in ("", "General_Category", "gc"):
        value = _CATEGORIES.get(value, value)
        if value in _SHORT_CATEGORIES or (not key and value in _BINARY):
            return CharSet(properties=(value,))
        if not key and value == "ASCII":
            return CharSet(((0, 0x7F),))
    script = key in ("Script", "sc", "Script_Extensions", "scx")
    if script and value.replace("_", "").isalpha() and value not in ("Common", "Zyyy", "Inherited"):
        return CharSet(properties=(f"Script={value}",))
    raise ValueError(f"the property {name!r} is not known")


ANY = CharSet(((0, _LAST),))
DIGIT = CharSet(((0x30, 0x39),))
WORD = CharSet(((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)))
# ECMA-262 WhiteSpace and LineTerminator.
SPACE = CharSet(
    merge(
        [(9, 13), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)]
        + [(0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)]
        + [(0xFEFF, 0xFEFF)]
    )
)
DOT = CharSet(complement([(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)]))
