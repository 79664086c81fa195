"""A model's output, split into text, reasoning and tool calls while it is generated."""

from __future__ import annotations

from collections.abc import Sequence

from mlxforge.engine.request import Tool

from .events import ParserEvent
from .harmony import HarmonyParser
from .marks import split_at_mark
from .readers import BareReader, Calls, ConvertedReader, JsonReader, MistralReader, Reader
from .reasoning import ReasoningMarks
from .syntax import Style, ToolSyntax

__all__ = ["HarmonyParser", "OutputParser", "ParserEvent"]


class OutputParser:
    """Parses one answer. Marks never leak, not even a part of one.

    ``tools``: those of the request; without any, calls are not looked for. ``in_reasoning``:
    the prompt has opened the thinking.
    """

    def __init__(
        self,
        marks: ReasoningMarks | None,
        syntax: ToolSyntax | None,
        tools: Sequence[Tool] = (),
        *,
        in_reasoning: bool = False,
    ) -> None:
        self._marks = marks
        self._syntax = syntax if tools else None
        self._tools = tools
        self._calls = Calls()
        self._reader: Reader | None = None
        self._reasoning = in_reasoning and marks is not None
        self._buffer = ""
        # White space at the start of the answer or of the thinking is no part of it; behind
        # a call it is kept back until there is text again.
        self._trim = True
        self._blank = ""
        self._bare = self._syntax is not None and self._syntax.style is Style.BARE_JSON
        self._may_be_bare = self._bare

    @property
    def in_reasoning(self) -> bool:
        """Whether the model is thinking."""
        return self._reasoning

    def feed(self, text: str) -> list[ParserEvent]:
        """Take further text of the answer, marks included."""
        self._buffer += text
        return self._run(final=False)

    def flush(self) -> list[ParserEvent]:
        """What was held back, at the end of the answer."""
        return self._run(final=True)

    def _run(self, *, final: bool) -> list[ParserEvent]:
        events: list[ParserEvent] = []
        while self._buffer or (final and self._reader is not None):
            before = (self._buffer, self._reasoning, self._reader)
            if self._reader is not None:
                self._read(events, final)
            elif self._reasoning:
                self._think(events, final)
            else:
                self._answer(events, final)
            if before == (self._buffer, self._reasoning, self._reader):
                break
        return events

    def _read(self, events: list[ParserEvent], final: bool) -> None:
        reader, text, self._buffer = self._reader, self._buffer, ""
        if reader is None:
            return
        found, rest = reader.feed(text, final=final)
        for event in found:
            events.extend(self._text(event.text) if event.text else [event])
        if rest is not None:
            self._reader, self._buffer = None, rest

    def _think(self, events: list[ParserEvent], final: bool) -> None:
        marks = self._marks
        if marks is None:
            return
        before, mark, after = split_at_mark(self._buffer, (marks.end,))
        if final and not mark:
            before, after = before + after, ""
        if self._trim:
            before = before.lstrip()
        if before:
            self._trim = False
            events.append(ParserEvent(reasoning=before))
        self._buffer = after
        if mark:
            self._reasoning, self._trim = False, True
            self._may_be_bare = self._bare and not self._calls.count

    def _answer(self, events: list[ParserEvent], final: bool) -> None:
        if self._begin_bare(final):
            return
        marks = self._marks
        start = self._syntax.start if self._syntax is not None else ""
        opens = marks.start if marks is not None else ""
        # A closing mark on its own: the model had been thinking without saying so.
        drop = (*marks.drop, marks.end) if marks is not None else ()
        before, mark, after = split_at_mark(self._buffer, (start, opens, *drop))
        if final and not mark:
            before, after = before + after, ""
        events.extend(self._text(before))
        self._buffer = after
        if not mark:
            return
        if mark == opens:
            self._reasoning, self._trim = True, True
        elif mark == start:
            self._blank = ""
            self._reader = self._new_reader(start)

    def _begin_bare(self, final: bool) -> bool:
        """Whether the answer begins with an object, which may be a call without marks."""
        if not self._may_be_bare:
            return False
        start = self._syntax.start if self._syntax is not None else ""
        text = self._buffer.lstrip()
        if not text or (start.startswith(text) and text != start and not final):
            return not final  # not known yet
        self._may_be_bare = False
        if not text.startswith("{"):
            return False
        self._buffer = text
        self._reader = self._new_reader("")
        return True

    def _new_reader(self, start: str) -> Reader:
        syntax = self._syntax
        if syntax is None:
            raise ValueError("no tools")
        if syntax.style is Style.JSON:
            return JsonReader(syntax, self._calls)
        if syntax.style is Style.MISTRAL:
            return MistralReader(syntax, self._calls)
        if syntax.style is Style.BARE_JSON:
            return BareReader(self._calls, self._tools, start)
        return ConvertedReader(syntax, self._calls, self._tools)

    def _text(self, text: str) -> list[ParserEvent]:
        if self._trim:
            text = text.lstrip()
        if not text:
            return []
        self._trim = False
        if self._calls.count:
            text = self._blank + text
            self._blank = ""
            if not text.strip():
                self._blank = text
                return []
        return [ParserEvent(text=text)]
