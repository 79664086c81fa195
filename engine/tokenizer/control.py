"""Control tokens: found in trusted text, kept out of untrusted text.

A control token steers the model (ends a turn, opens a role, marks a tool call). Only the
model's own template may place one. So before a conversation is rendered, each string that a
caller sent is *guarded*: wherever a control token is spelled in it, or could be completed by
what the template puts beside it, a private character is inserted. What looks like a control
token after rendering then is the template's own; the private characters are removed and all
else is encoded as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_PRIVATE_USE = range(0xE000, 0xF900)


@dataclass(frozen=True, slots=True)
class ControlToken:
    """``lstrip``, ``rstrip``: the token swallows white space on that side."""

    id: int
    text: str
    lstrip: bool = False
    rstrip: bool = False


class ControlTokens:
    """The control tokens of one tokenizer, by text.

    ``literals`` are the constant texts of its chat templates: a caller's string can be the
    middle of a control token only where such texts are its beginning and its end.
    """

    def __init__(self, tokens: Iterable[ControlToken], literals: Sequence[str] = ()) -> None:
        self._tokens = {token.text: token for token in tokens if token.text}
        self.ids = frozenset(token.id for token in self._tokens.values())
        texts = tuple(self._tokens)
        pattern = _alternation(texts)
        self._find = re.compile(pattern)
        self._find_starts = re.compile(f"(?=(?:{pattern}))(.)", re.DOTALL)
        self._beginnings = {t[:n] for t in texts for n in range(1, len(t)) if _has_mark(t[:n])}
        self._endings = {t[n:] for t in texts for n in range(1, len(t)) if _has_mark(t[n:])}
        self._middles = frozenset(_middles(texts, literals))
        self._longest = max(map(len, texts), default=0)

    def __iter__(self) -> Iterator[ControlToken]:
        return iter(self._tokens.values())

    def get(self, text: str) -> ControlToken | None:
        """The token of exactly this text."""
        return self._tokens.get(text)

    def guard(self, text: str, mark: str) -> str:
        """``text`` with ``mark`` inserted so that no control token holds a character of it."""
        if not text or not self._tokens:
            return text
        guarded = self._find_starts.sub(rf"\1{mark}", text)
        sizes = range(1, min(self._longest, len(text) + 1))
        middle = text in self._middles
        if middle or any(text[:size] in self._endings for size in sizes):
            guarded = mark + guarded
        if middle or any(text[-size:] in self._beginnings for size in sizes):
            guarded += mark
        return guarded

    def split(self, text: str) -> tuple[list[str], list[ControlToken]]:
        """The texts before, between and after the control tokens, and the tokens.

        At each place the longest token counts, as in the ``tokenizers`` library.
        """
        texts: list[str] = []
        found: list[ControlToken] = []
        start = 0
        for match in self._find.finditer(text):
            token = self._tokens[match[0]]
            before = text[start : match.start()]
            if found and found[-1].rstrip:
                before = before.lstrip()
            texts.append(before.rstrip() if token.lstrip else before)
            found.append(token)
            start = match.end()
        rest = text[start:]
        texts.append(rest.lstrip() if found and found[-1].rstrip else rest)
        return texts, found


@dataclass(frozen=True, slots=True)
class Guard:
    """Guards the strings of one conversation with a character that occurs in none of them."""

    tokens: ControlTokens
    mark: str
    end: str
    """A second such character: it marks the end of a message that is to be continued."""

    @classmethod
    def for_strings(cls, tokens: ControlTokens, strings: Sequence[str]) -> Guard | None:
        """A guard for these strings; None when every private character occurs in them."""
        # A template may print a value's repr, where a private character is spelled \\ueXXX.
        free = (
            chr(code)
            for code in _PRIVATE_USE
            if not any(chr(code) in text or f"\\u{code:04x}" in text for text in strings)
        )
        mark, end = next(free, None), next(free, None)
        return None if mark is None or end is None else cls(tokens, mark, end)

    def __call__(self, value: Any) -> Any:
        """A JSON value with every string in it guarded, keys too."""
        if isinstance(value, str):
            return self.tokens.guard(value, self.mark)
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self(item) for item in value]
        return value

    def remove(self, text: str) -> str:
        """``text`` without the marks."""
        return text.replace(self.mark, "").replace(f"\\u{ord(self.mark):04x}", "")


def strings_in(value: Any) -> Iterator[str]:
    """All strings of a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings_in(key)
            yield from strings_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_in(item)


def _has_mark(piece: str) -> bool:
    """Whether a piece of a control token is more than a word."""
    return not piece.isalnum()


def _middles(texts: Sequence[str], literals: Sequence[str]) -> Iterator[str]:
    """What, put between two of ``literals``, makes one of ``texts``."""
    for text in texts:
        cuts = range(1, len(text))
        starts = [cut for cut in cuts if any(lit.endswith(text[:cut]) for lit in literals)]
        ends = [cut for cut in cuts if any(lit.startswith(text[cut:]) for lit in literals)]
        yield from (text[start:end] for start in starts for end in ends if start < end)


def _alternation(texts: Iterable[str]) -> str:
    """A regular expression for any of ``texts``, longest first.

    Written as a trie, because models have thousands of reserved tokens with one beginning,
    and Python's ``re`` tries the branches of an alternation one by one.
    """
    root: dict[str, Any] = {}
    for text in texts:
        node = root
        for char in text:
            node = node.setdefault(char, {})
        node[""] = {}
    return _trie_pattern(root) if root else r"(?!)"


def _trie_pattern(node: dict[str, Any]) -> str:
    prefix = ""
    while len(node) == 1 and "" not in node:
        char, node = next(iter(node.items()))
        prefix += re.escape(char)
    branches = [re.escape(char) + _trie_pattern(child) for char, child in node.items() if char]
    if not branches:
        return prefix
    optional = "?" if "" in node else ""
    return f"{prefix}(?:{'|'.join(branches)}){optional}"
