"""What stands inside a call, read in the way of each style."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Protocol

from mlxforge.engine.output import ToolCallDelta
from mlxforge.engine.request import Tool

from .events import ParserEvent, new_call_id
from .json_call import JsonCall, JsonValue
from .marks import split_at_mark
from .syntax import ToolSyntax, convert


class Calls:
    """Numbers the calls of one answer."""

    def __init__(self) -> None:
        self.count = 0

    def begin(self, name: str, arguments: str = "") -> ParserEvent:
        """The first piece of a further call."""
        delta = ToolCallDelta(self.count, new_call_id(), name, arguments)
        self.count += 1
        return ParserEvent(tool_call=delta)

    def more(self, arguments: str) -> ParserEvent:
        """A further piece of the last call."""
        return ParserEvent(tool_call=ToolCallDelta(self.count - 1, arguments=arguments))


class Reader(Protocol):
    """Reads one marked stretch of calls."""

    def feed(self, text: str, *, final: bool = False) -> tuple[list[ParserEvent], str | None]:
        """Events, and what stands behind the stretch; None while it is not over."""
        ...


class StreamedObject:
    """Events of one JSON call while it is written."""

    def __init__(self, calls: Calls) -> None:
        self.call = JsonCall()
        self._calls = calls
        self.begun = False

    def feed(self, text: str) -> tuple[list[ParserEvent], str]:
        """Events, and what stands behind the object."""
        piece, rest = self.call.feed(text)
        events: list[ParserEvent] = []
        if self.call.name is not None and not self.begun and not self.call.bad:
            self.begun = True
            events.append(self._calls.begin(self.call.name, piece))
        elif piece:
            events.append(self._calls.more(piece))
        return events, rest


class JsonReader:
    """``{"name": …, "arguments": …}`` up to the end mark; text when it is none."""

    def __init__(self, syntax: ToolSyntax, calls: Calls) -> None:
        self._syntax = syntax
        self._calls = calls
        self._object = StreamedObject(calls)
        self._rest = ""
        self._raw = ""

    def feed(self, text: str, *, final: bool = False) -> tuple[list[ParserEvent], str | None]:
        """As ``Reader.feed``."""
        self._raw += text
        events: list[ParserEvent] = []
        if not self._object.call.done and not self._object.call.bad:
            events, text = self._object.feed(text)
        self._rest += text
        over = self._object.call.done or self._object.call.bad
        before, mark, after = split_at_mark(self._rest, (self._syntax.end,))
        if over and mark:
            if not self._object.begun:
                events += self._whole(self._raw[: len(self._raw) - len(after)])
            return events, after
        if over and self._object.begun and before.strip():
            return events, self._rest  # the end mark is missing
        if final and not self._object.begun:
            events += self._whole(self._raw)
        return events, ("" if final else None)

    def _whole(self, raw: str) -> list[ParserEvent]:
        """Calls in a form that is not streamed (a list of objects), else the text as it is."""
        try:
            parsed = json.loads(raw.removesuffix(self._syntax.end))
            calls = [(call["name"], call.get("arguments", {})) for call in parsed]
            events = []
            for name, arguments in calls:
                whole = arguments if isinstance(arguments, str) else json.dumps(arguments)
                events.append(self._calls.begin(name, whole))
            return events
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return [ParserEvent(text=self._syntax.start + raw)]


class MistralReader:
    """A list of objects, or ``name[ARGS]{…}``."""

    _HEADER = re.compile(r"\s*([\w.-]+)\s*(?:\[CALL_ID\]\s*\w+\s*)?(?:\[ARGS\]\s*|(?=\{))")

    def __init__(self, syntax: ToolSyntax, calls: Calls) -> None:
        self._start = syntax.start
        self._calls = calls
        self._text = ""
        self._in_list = False
        self._object: StreamedObject | None = None
        self._value: JsonValue | None = None

    def feed(self, text: str, *, final: bool = False) -> tuple[list[ParserEvent], str | None]:
        """As ``Reader.feed``."""
        self._text += text
        events: list[ParserEvent] = []
        over = False
        while self._text and not over:
            before = self._text
            if self._value is not None:
                over = self._arguments(events)
            elif self._in_list:
                over = self._list(events)
            elif not self._begin(events):
                break
            if self._text == before and not over:
                break
        if over:
            return events, self._text
        if not final:
            return events, None
        if self._value is None and self._object is None and self._text.strip():
            events.append(ParserEvent(text=self._start + self._text))
        return events, ""

    def _begin(self, events: list[ParserEvent]) -> bool:
        stripped = self._text.lstrip()
        if stripped.startswith("["):
            self._in_list, self._text = True, stripped[1:]
            return True
        match = self._HEADER.match(self._text)
        if match is None:
            return False
        events.append(self._calls.begin(match[1]))
        self._value, self._text = JsonValue(), self._text[match.end() :]
        return True

    def _arguments(self, events: list[ParserEvent]) -> bool:
        value = self._value or JsonValue()
        size = value.feed(self._text)
        if size:
            events.append(self._calls.more(self._text[:size]))
        self._text = self._text[size:]
        return value.complete

    def _list(self, events: list[ParserEvent]) -> bool:
        if self._object is None:
            self._text = self._text.lstrip(" \n\t\r,")
            if not self._text.startswith("{"):
                closed = self._text.startswith("]")
                self._text = self._text[1:] if closed else self._text
                return bool(self._text) or closed
            self._object = StreamedObject(self._calls)
        found, self._text = self._object.feed(self._text)
        events += found
        if self._object.call.done or self._object.call.bad:
            self._object = None
        return False


class ConvertedReader:
    """Everything up to the end mark, then mlx-lm's parser; text when it finds no call."""

    def __init__(self, syntax: ToolSyntax, calls: Calls, tools: Sequence[Tool]) -> None:
        self._syntax = syntax
        self._calls = calls
        self._tools = tools
        self._text = ""

    def feed(self, text: str, *, final: bool = False) -> tuple[list[ParserEvent], str | None]:
        """As ``Reader.feed``."""
        self._text += text
        body, mark, after = self._text.partition(self._syntax.end)
        if not mark and not final:
            return [], None
        try:
            found = convert(self._syntax, body, self._tools)
        except ValueError:
            return [ParserEvent(text=self._syntax.start + body + mark)], after
        return [self._calls.begin(name, arguments) for name, arguments in found], after


class BareReader:
    """JSON objects as the whole answer; text when the first is no call of a known tool."""

    def __init__(self, calls: Calls, tools: Sequence[Tool], start: str = "") -> None:
        self._calls = calls
        self._names = {tool.name for tool in tools}
        self._start = start
        self._call = JsonCall()
        self._raw = start
        self._begun = False

    def feed(self, text: str, *, final: bool = False) -> tuple[list[ParserEvent], str | None]:
        """As ``Reader.feed``."""
        events: list[ParserEvent] = []
        rest = text
        while rest:
            if self._call.done:
                rest = rest.lstrip(" \n\t\r;,")
                if rest and not rest.startswith("{"):
                    return events, rest
                self._call, self._begun, self._raw = JsonCall(), False, ""
                continue
            piece, after = self._call.feed(rest)
            self._raw += rest[: len(rest) - len(after)]
            if self._call.bad or (self._call.name or "") not in {*self._names, ""}:
                return [*events, ParserEvent(text=self._raw)], after
            if self._call.name is not None and not self._begun:
                self._begun = True
                events.append(self._calls.begin(self._call.name, piece))
            elif piece:
                events.append(self._calls.more(piece))
            rest = after
        if final and not self._begun and self._raw:
            events.append(ParserEvent(text=self._raw))
        return events, ("" if final else None)
