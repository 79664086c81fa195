"""gpt-oss's output: messages on channels (OpenAI's harmony format)."""

from __future__ import annotations

import re

from .events import ParserEvent
from .marks import split_at_mark
from .readers import Calls

_START, _CHANNEL, _MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
_ENDS = ("<|end|>", "<|call|>", "<|return|>")
_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([\w.-]+)")


class HarmonyParser:
    """Parses one answer: ``analysis`` is reasoning, what is addressed to a function a call.

    The prompt ends with ``<|start|>assistant``; what follows is a header up to
    ``<|message|>``, then the content up to ``<|end|>``, ``<|call|>`` or ``<|return|>``.
    """

    def __init__(self, *, forced: bool = False) -> None:
        """``forced``: a grammar writes the whole answer, headers included."""
        self._calls = Calls()
        self._forced = forced
        self._buffer = ""
        self._in_header = True
        self._channel = ""
        self._recipient = ""
        self._called = False

    @property
    def in_reasoning(self) -> bool:
        """Whether what comes is not the answer: headers count to the thinking around them."""
        return not self._forced and (self._in_header or self._channel == "analysis")

    def feed(self, text: str) -> list[ParserEvent]:
        """Take further text of the answer, marks included."""
        self._buffer += text
        return self._run(final=False)

    def flush(self) -> list[ParserEvent]:
        """What was held back, at the end of the answer."""
        return self._run(final=True)

    def _run(self, *, final: bool) -> list[ParserEvent]:
        events: list[ParserEvent] = []
        while self._buffer:
            before = self._buffer
            if self._in_header:
                self._header()
            else:
                self._content(events, final)
            if self._buffer == before:
                break
        return events

    def _header(self) -> None:
        header, mark, after = self._buffer.partition(_MESSAGE)
        if not mark:
            return
        self._buffer, self._in_header = after, False
        channel = header.rpartition(_CHANNEL)[2].split("<|")[0].split()
        self._channel = channel[0] if channel and _CHANNEL in header else "final"
        recipient = _RECIPIENT.search(header)
        self._called = False
        if recipient is not None and self._channel != "analysis":
            self._channel = "call"
            self._recipient = recipient[1]

    def _content(self, events: list[ParserEvent], final: bool) -> None:
        before, mark, after = split_at_mark(self._buffer, (*_ENDS, _START))
        if final and not mark:
            before, after = before + after, ""
        if before or (mark and self._channel == "call" and not self._called):
            events.append(self._event(before))
        self._buffer = after
        self._in_header = bool(mark)

    def _event(self, text: str) -> ParserEvent:
        if self._channel == "analysis":
            return ParserEvent(reasoning=text)
        if self._channel != "call":
            return ParserEvent(text=text)
        if self._called:
            return self._calls.more(text)
        self._called = True
        return self._calls.begin(self._recipient, text)
