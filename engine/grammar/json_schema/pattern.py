"""ECMA-262 regular expressions, as JSON Schema's ``pattern`` has them.

A pattern is searched for anywhere in the string. It becomes a union of intersections of
regular expressions that match the whole string, in their JSON spelling. Anchors may stand
at the ends of alternatives only, look-aheads only where an anchored alternative begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import regex

from .charset import ANY, CharSet
from .errors import BadPattern
from .pattern_syntax import (
    Alternatives,
    Anchor,
    LookAhead,
    Part,
    Repeat,
    Sequence,
    parse_syntax,
)

_MAX_ALTERNATIVES = 256
_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class _Whole:
    """One alternative that matches the whole string: ``body`` and what it must (not) begin with."""

    body: Part
    looks: tuple[LookAhead, ...]


class Pattern:
    """A compiled pattern: its text expression, and matching of single strings."""

    __slots__ = ("_regex", "expression", "source")

    def __init__(self, source: str, expression: str, search: str) -> None:
        self.source = source
        self.expression = expression
        self._regex = search

    def matches(self, text: str) -> bool:
        """Whether a string conforms. Raises ``BadPattern`` when that takes too long."""
        try:
            return regex.search(self._regex, text, timeout=_SECONDS) is not None
        except TimeoutError as error:
            raise BadPattern("matching takes too long") from error


@lru_cache(maxsize=256)
def parse(source: str) -> Pattern:
    """Compile a pattern. Raises ``BadPattern``."""
    tree = parse_syntax(source)
    wholes = [_whole(list(parts)) for parts in _open_ends(tree)]
    return Pattern(source, " | ".join(map(_whole_text, wholes)), _render(tree, CharSet.pattern))


def _has_assertion(part: Part) -> bool:
    match part:
        case Anchor() | LookAhead():
            return True
        case Sequence(parts):
            return any(map(_has_assertion, parts))
        case Alternatives(options):
            return any(map(_has_assertion, options))
        case Repeat(inner):
            return _has_assertion(inner)
    return False


def _open_ends(part: Part) -> list[tuple[Part, ...]]:
    """Alternatives whose first and last parts are no groups with assertions in them."""
    done: list[tuple[Part, ...]] = []
    todo: list[tuple[Part, ...]] = [(part,)]
    while todo:
        parts = todo.pop()
        for index in (0, len(parts) - 1) if parts else ():
            # Past the leading assertions, and before the trailing ones.
            index = _past_assertions(parts, index)
            group = parts[index]
            if not isinstance(group, Sequence | Alternatives) or not _has_assertion(group):
                continue
            options = group.options if isinstance(group, Alternatives) else (group,)
            for option in options:
                inner = option.parts if isinstance(option, Sequence) else (option,)
                todo.append((*parts[:index], *inner, *parts[index + 1 :]))
            break
        else:
            done.append(parts)
        if len(todo) + len(done) > _MAX_ALTERNATIVES:
            raise BadPattern(f"has more than {_MAX_ALTERNATIVES} anchored alternatives")
    return done


def _past_assertions(parts: tuple[Part, ...], index: int) -> int:
    step = 1 if index == 0 else -1
    while 0 <= index + step < len(parts) and isinstance(parts[index], Anchor | LookAhead):
        index += step
    return index


def _whole(parts: list[Part]) -> _Whole:
    anything = Repeat(ANY, 0, None)
    anchored = False
    looks: list[LookAhead] = []
    while parts and isinstance(parts[0], LookAhead | Anchor):
        first = parts[0]
        if isinstance(first, LookAhead):
            looks.append(first)
        elif first.start:
            anchored = True
        else:
            break
        parts.pop(0)
    if looks and not anchored:
        raise BadPattern("look-aheads are supported after ^ only")
    ended = False
    while parts and isinstance(parts[-1], Anchor) and not parts[-1].start:
        ended = True
        parts.pop()
    if any(map(_has_assertion, parts)):
        raise BadPattern("anchors and look-aheads are supported at the ends of alternatives only")
    body = [*([] if anchored else [anything]), *parts, *([] if ended else [anything])]
    return _Whole(Sequence(tuple(body)), tuple(looks))


def _whole_text(whole: _Whole) -> str:
    terms = [f"/{_render(whole.body, CharSet.text) or '(?:)'}/"]
    for look in whole.looks:
        options = [_whole([Anchor(True), *parts]) for parts in _open_ends(look.part)]
        expression = " | ".join(map(_whole_text, options))
        terms.append(f"{'~' if look.negative else ''}({expression})")
    return terms[0] if len(terms) == 1 else f"({' & '.join(terms)})"


def _render(part: Part, chars: Callable[[CharSet], str]) -> str:
    """A regular expression; ``chars`` spells the single characters."""
    match part:
        case CharSet():
            return chars(part)
        case Sequence(parts):
            return "".join(_render(inner, chars) for inner in parts)
        case Alternatives(options):
            return f"(?:{'|'.join(_render(inner, chars) for inner in options)})"
        case Repeat(inner, low, high):
            text = f"(?:{_render(inner, chars)})"
            return f"{text}{{{low},{'' if high is None else high}}}"
        case Anchor(start):
            return r"\A" if start else r"\Z"
        case LookAhead(inner, negative):
            return f"(?{'!' if negative else '='}{_render(inner, chars)})"
