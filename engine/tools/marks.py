"""Marks in a stream of text, found without leaking a part of one."""

from __future__ import annotations

from collections.abc import Sequence


def split_at_mark(text: str, marks: Sequence[str]) -> tuple[str, str, str]:
    """``(before, mark, after)`` at the first mark, the longest of those that begin there.

    Without a mark: ``(before, "", held)``, where ``held`` is the end of the text that could
    be the beginning of a mark.
    """
    found = [(text.find(mark), -len(mark), mark) for mark in marks if mark and mark in text]
    held = _held(text, marks)
    if found:
        at, _, mark = min(found)
        # A longer mark that begins earlier may still become complete.
        if len(text) - held > at or held == 0:
            return text[:at], mark, text[at + len(mark) :]
    return text[: len(text) - held], "", text[len(text) - held :]


def _held(text: str, marks: Sequence[str]) -> int:
    longest = max(map(len, marks), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        tail = text[len(text) - length :]
        if any(len(mark) > length and mark.startswith(tail) for mark in marks):
            return length
    return 0
