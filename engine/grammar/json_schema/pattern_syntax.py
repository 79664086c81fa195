"""The syntax of ECMA-262 regular expressions: what a pattern is made of.

Back-references, look-behinds and word boundaries are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import regex

from .charset import DIGIT, DOT, SPACE, WORD, CharSet, property_set
from .errors import BadPattern

_MAX_DEPTH = 60
_MAX_REPEAT = 10_000


@dataclass(frozen=True, slots=True)
class Sequence:
    """Parts one after the other."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of several."""

    options: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part, ``low`` to ``high`` times (None: without bound)."""

    part: Part
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Anchor:
    """``^`` or ``$``."""

    start: bool


@dataclass(frozen=True, slots=True)
class LookAhead:
    """``(?=…)`` or ``(?!…)``."""

    part: Part
    negative: bool


Part = CharSet | Sequence | Alternatives | Repeat | Anchor | LookAhead


def parse_syntax(source: str) -> Part:
    """The tree of a pattern. Raises ``BadPattern``."""
    return _Parser(source).parse()


class _Parser:
    """Recursive descent over the pattern's characters."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._depth = 0

    def parse(self) -> Part:
        part = self._alternatives()
        if self._at < len(self._source):
            raise BadPattern(f"unbalanced ) at {self._at}")
        return part

    def _peek(self, text: str) -> bool:
        return self._source.startswith(text, self._at)

    def _take(self, text: str) -> bool:
        if self._peek(text):
            self._at += len(text)
            return True
        return False

    def _next(self) -> str:
        if self._at >= len(self._source):
            raise BadPattern("ends too early")
        self._at += 1
        return self._source[self._at - 1]

    def _alternatives(self) -> Part:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise BadPattern(f"is nested deeper than {_MAX_DEPTH} groups")
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        self._depth -= 1
        return options[0] if len(options) == 1 else Alternatives(tuple(options))

    def _sequence(self) -> Part:
        parts: list[Part] = []
        while self._at < len(self._source) and not self._peek("|") and not self._peek(")"):
            parts.append(self._quantified())
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _quantified(self) -> Part:
        part = self._atom()
        bounds = self._quantifier()
        if bounds is None:
            return part
        if isinstance(part, Anchor | LookAhead):
            raise BadPattern("an assertion cannot be repeated")
        self._take("?")  # lazy: the same language
        if self._quantifier() is not None:
            raise BadPattern(f"nothing to repeat at {self._at}")
        low, high = bounds
        if high is not None and high < low:
            raise BadPattern("numbers out of order in {}")
        if max(low, high or 0) > _MAX_REPEAT:
            raise BadPattern(f"repeats more than {_MAX_REPEAT} times")
        return Repeat(part, low, high)

    def _quantifier(self) -> tuple[int, int | None] | None:
        if self._take("*"):
            return 0, None
        if self._take("+"):
            return 1, None
        if self._take("?"):
            return 0, 1
        match = regex.compile(r"\{([0-9]{1,9})(?:(,)([0-9]{1,9})?)?\}").match(
            self._source, self._at
        )
        if match is None:
            return None
        self._at = match.end()
        low = int(match[1])
        return low, (int(match[3]) if match[3] else None) if match[2] else low

    def _atom(self) -> Part:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        if char == "\\":
            return self._escape()
        if char == ".":
            return DOT
        if char in "^$":
            return Anchor(char == "^")
        if char in "*+?":
            raise BadPattern(f"nothing to repeat at {self._at - 1}")
        return _one(char)

    def _group(self) -> Part:
        look: bool | None = None
        if self._take("?"):
            if self._take("="):
                look = False
            elif self._take("!"):
                look = True
            elif self._take(":"):
                pass
            elif match := regex.compile(r"<([\p{L}_$][\p{L}\p{N}_$]*)>").match(
                self._source, self._at
            ):
                self._at = match.end()
            else:
                raise BadPattern("look-behind and inline flags are not supported")
        part = self._alternatives()
        if not self._take(")"):
            raise BadPattern("a group is not closed")
        return part if look is None else LookAhead(part, look)

    def _escape(self) -> Part:
        if self._peek("b") or self._peek("B"):
            raise BadPattern("word boundaries are not supported")
        if self._peek("k<") or (
            self._at < len(self._source) and self._source[self._at] in "123456789"
        ):
            raise BadPattern("back-references are not supported")
        return self._character_escape()

    def _character_escape(self) -> CharSet:
        char = self._next()
        if char in "dD":
            return DIGIT if char == "d" else DIGIT.negate()
        if char in "wW":
            return WORD if char == "w" else WORD.negate()
        if char in "sS":
            return SPACE if char == "s" else SPACE.negate()
        if char in "pP":
            return self._property(negative=char == "P")
        simple = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "0": "\0"}
        if char in simple:
            return _one(simple[char])
        if char == "c" and (letter := self._next()).isascii() and letter.isalpha():
            return _one(chr(ord(letter) % 32))
        if char == "x":
            return _one(chr(self._hex(2)))
        if char == "u":
            return _one(chr(self._unicode()))
        if char.isascii() and char.isalnum():
            raise BadPattern(f"the escape \\{char} is not known")
        return _one(char)

    def _hex(self, digits: int) -> int:
        text = self._source[self._at : self._at + digits]
        if len(text) != digits or not all(c in "0123456789abcdefABCDEF" for c in text):
            raise BadPattern(f"{digits} hexadecimal digits are missing at {self._at}")
        self._at += digits
        return int(text, 16)

    def _unicode(self) -> int:
        match = regex.compile(r"\{([0-9a-fA-F]{1,6})\}").match(self._source, self._at)
        if match is not None:
            self._at = match.end()
            code = int(match[1], 16)
        else:
            code = self._hex(4)
            if 0xD800 <= code < 0xDC00 and self._take("\\u"):
                code = 0x10000 + ((code - 0xD800) << 10) + (self._hex(4) - 0xDC00)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise BadPattern(f"U+{code:04X} is no character")
        return code

    def _property(self, *, negative: bool) -> CharSet:
        match = regex.compile(r"\{([A-Za-z_=0-9]+)\}").match(self._source, self._at)
        if match is None:
            raise BadPattern(r"\p needs a property in braces")
        self._at = match.end()
        try:
            found = property_set(match[1])
        except ValueError as error:
            raise BadPattern(str(error)) from error
        return found.negate() if negative else found

    def _class(self) -> CharSet:
        negated = self._take("^")
        result = CharSet()
        while not self._take("]"):
            low = self._class_atom()
            if self._peek("-") and not self._peek("-]"):
                self._at += 1
                low = _range(low, self._class_atom())
            try:
                result = result.union(low)
            except ValueError as error:
                raise BadPattern(f"{error} is not supported") from error
        return result.negate() if negated else result

    def _class_atom(self) -> CharSet:
        char = self._next()
        if char != "\\":
            return _one(char)
        return _one("\b") if self._take("b") else self._character_escape()


def _one(char: str) -> CharSet:
    return CharSet(((ord(char), ord(char)),))


def _range(low: CharSet, high: CharSet) -> CharSet:
    ends = [s.ranges[0] for s in (low, high) if len(s.ranges) == 1 and not s.properties]
    if len(ends) != 2 or any(first != last for first, last in ends):
        raise BadPattern("a class such as \\d cannot be the end of a range")
    if ends[0][0] > ends[1][0]:
        raise BadPattern("a range is out of order")
    return CharSet(((ends[0][0], ends[1][0]),))
