"""Pieces of llguidance's Lark text."""

from __future__ import annotations

from collections.abc import Sequence

# Characters that mean something in a regular expression, in Lark's /.../ or in its x-mode.
_SPECIAL = frozenset(r"\.+*?()|[]{}^$/#&-~\" ")


def escape(text: str) -> str:
    """A regular expression (between slashes) that matches exactly ``text``."""
    return "".join(
        char
        if char.isalnum() and char.isascii()
        else f"\\{char}"
        if char in _SPECIAL and char not in '" /'
        else f"\\x{{{ord(char):x}}}"
        for char in text
    )


def choice(texts: Sequence[str]) -> str:
    """A grammar whose texts are exactly these."""
    return f"start: CHOICE\nCHOICE: /{'|'.join(map(escape, dict.fromkeys(texts)))}/\n"
