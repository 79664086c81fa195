"""Why a schema is not taken."""

from __future__ import annotations


class Refused(Exception):
    """The schema cannot be enforced. ``pointer``: where, as a JSON pointer fragment (``#/a``)."""

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer}: {reason}")
        self.pointer = pointer
        self.reason = reason


class TooComplex(Exception):
    """The schema is valid, but its grammar would be too large."""


class BadPattern(ValueError):
    """A regular expression is wrong, or uses what has no grammar (such as back-references)."""


def join(pointer: str, *parts: str | int) -> str:
    """A JSON pointer extended by keys (RFC 6901)."""
    tail = (str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return "/".join([pointer, *tail])
