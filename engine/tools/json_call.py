"""A tool call written as a JSON object, read while it is written."""

from __future__ import annotations

import enum
import json
import re

_NAME_KEYS = ("name", "function", "tool_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input")
_SCALAR_END = re.compile(r"[\s,}\]]")
_DONE_AT_DEPTH = 0


class JsonValue:
    """Finds the end of one JSON value in a stream: nesting and strings, nothing else."""

    def __init__(self) -> None:
        self.complete = False
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._scalar = False
        self._started = False

    def feed(self, text: str) -> int:
        """How many characters of ``text`` belong to the value."""
        for index, char in enumerate(text):
            if self.complete:
                return index
            if self._step(char):
                return index
        return len(text)

    def _step(self, char: str) -> bool:
        """Take a character; True when it is behind the value already."""
        if self._in_string:
            if self._escaped:
                self._escaped = False
            elif char == "\\":
                self._escaped = True
            elif char == '"':
                self._in_string = False
                self.complete = self._depth == _DONE_AT_DEPTH
        elif self._scalar and _SCALAR_END.match(char):
            self.complete = True
            return True
        elif char == '"':
            self._in_string = self._started = True
        elif char in "{[":
            self._depth += 1
            self._started = True
        elif char in "}]":
            self._depth -= 1
            self.complete = self._depth <= _DONE_AT_DEPTH
        elif not char.isspace() and not self._started:
            self._scalar = self._started = True
        return False


class _At(enum.Enum):
    START = enum.auto()  # before the object
    KEY = enum.auto()  # before a key, a comma or the end
    COLON = enum.auto()
    VALUE = enum.auto()
    DONE = enum.auto()
    BAD = enum.auto()


class JsonCall:
    """One object such as ``{"name": …, "arguments": …}``.

    ``feed`` returns the arguments' new characters, once the name is known and if they are an
    object. ``name`` is None until it is there. ``bad``: this is no call.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self.raw = ""
        self._at = _At.START
        self._key = ""
        self._piece = ""
        self._value: JsonValue | None = None
        self._arguments = ""
        self._sent = 0

    @property
    def done(self) -> bool:
        """Whether the object is closed."""
        return self._at is _At.DONE

    @property
    def bad(self) -> bool:
        """Whether the text is no object with a name."""
        return self._at is _At.BAD or (self.done and self.name is None)

    @property
    def arguments(self) -> str:
        """What is known of the arguments; an empty object when there are none."""
        return self._arguments or ("{}" if self.done else "")

    def feed(self, text: str) -> tuple[str, str]:
        """Further arguments, and what of ``text`` stands behind the object."""
        rest = text
        while rest and self._at not in (_At.DONE, _At.BAD):
            rest = self._advance(rest)
        self.raw += text[: len(text) - len(rest)]
        return self._new_arguments(), rest

    def _new_arguments(self) -> str:
        """Held back while they may turn out to be a string, which holds the object's text."""
        if self.name is None or (self._arguments.lstrip()[:1] not in ("{", "") and not self.done):
            return ""
        text = self.arguments
        if text.startswith('"'):
            text = self._arguments = _decoded(text)
        piece, self._sent = text[self._sent :], len(text)
        return piece

    def _advance(self, text: str) -> str:
        if self._at is _At.VALUE or self._value is not None:
            return self._take_value(text)
        char = text[0]
        if char.isspace():
            return text[1:]
        if self._at is _At.START:
            self._at = _At.KEY if char == "{" else _At.BAD
            return text[1:] if self._at is _At.KEY else text
        if self._at is _At.COLON:
            self._at = _At.VALUE if char == ":" else _At.BAD
            return text[1:]
        if char == "}":
            self._at = _At.DONE
        elif char == '"':
            self._value, self._piece = JsonValue(), ""
            return text
        elif char != ",":
            self._at = _At.BAD
        return text[1:]

    def _take_value(self, text: str) -> str:
        """Characters of a key (at KEY) or of a value."""
        if self._value is None:
            self._value, self._piece = JsonValue(), ""
        size = self._value.feed(text)
        taken = text[:size]
        if not self._piece:
            taken = taken.lstrip()
        self._piece += taken
        streamed = self._at is _At.VALUE and self._key in _ARGUMENT_KEYS
        if streamed:
            self._arguments += taken
        if self._value.complete:
            self._value = None
            self._close_value()
        return text[size:]

    def _close_value(self) -> None:
        if self._at is _At.KEY:
            self._key = str(_loads(self._piece))
            self._at = _At.COLON
            return
        self._at = _At.KEY
        if self._key in _NAME_KEYS and self.name is None:
            name = _loads(self._piece)
            if isinstance(name, str) and name:
                self.name = name
            else:
                self._at = _At.BAD


def _loads(text: str) -> object:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _decoded(text: str) -> str:
    """Arguments that a model wrote as a string holding JSON."""
    inner = _loads(text)
    if isinstance(inner, str) and isinstance(_loads(inner), dict):
        return inner
    return text
