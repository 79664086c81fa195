"""From a sequence's tokens to what its caller reads: text, reasoning, tool calls, stops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from .output import ToolCallDelta
from .tokenizer import Detokenizer, StopMatcher, Tokenizer


class Event(Protocol):
    """A stretch of a parsed answer; exactly one of the three is set."""

    @property
    def text(self) -> str:
        """Of the answer."""
        ...

    @property
    def reasoning(self) -> str:
        """Of the thinking before it."""
        ...

    @property
    def tool_call(self) -> ToolCallDelta | None:
        """A piece of a call."""
        ...


class Parser(Protocol):
    """Splits an answer into text, reasoning and tool calls (see ``tools``)."""

    @property
    def in_reasoning(self) -> bool:
        """Whether what comes next is thinking."""
        ...

    def feed(self, text: str) -> Iterable[Event]:
        """What further text brings."""
        ...

    def flush(self) -> Iterable[Event]:
        """What was held back, at the end."""
        ...


@dataclass(slots=True)
class Piece:
    """What one token (or the end) brought. ``stop`` is the stop string that was reached."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    stop: str | None = None


class TextStream:
    """Incremental: whole characters only, stop strings held back and never leaked.

    Stop strings are looked for in the answer's text, not in reasoning or tool calls.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stops: tuple[str, ...],
        parser: Parser | None = None,
        *,
        opens_turn: bool = False,
        shown: frozenset[int] = frozenset(),
    ) -> None:
        """``opens_turn``: the text opens a chat's turn; ``shown``: control tokens to be read."""
        self._detokenizer = Detokenizer(
            tokenizer,
            continues_text=not opens_turn,
            skipped=tokenizer.special_token_ids - shown,
        )
        self._table = tokenizer.byte_table
        self._stops = StopMatcher(stops) if stops else None
        self._parser = parser
        self.called_tools = False

    @property
    def in_reasoning(self) -> bool:
        """Whether the model is thinking."""
        return self._parser is not None and self._parser.in_reasoning

    def spelling(self, token: int) -> str:
        """A token's own text; "" where it is only a part of a character."""
        if not 0 <= token < len(self._table):
            return ""
        try:
            return self._table[token].decode()
        except UnicodeDecodeError:
            return ""

    def push(self, token: int, *, stops: bool = True) -> Piece:
        """The text of one more token; ``stops`` False: stop strings do not count yet."""
        piece = Piece()
        self._read(piece, self._detokenizer.add(token), stops)
        return piece

    def finish(self) -> Piece:
        """What was held back, once the sequence has ended without a stop string."""
        piece = Piece()
        self._read(piece, self._detokenizer.flush(), True)
        if self._parser is not None:
            self._merge(piece, self._parser.flush(), True)
        if self._stops is not None and piece.stop is None:
            piece.text += self._stops.flush()
        return piece

    def _read(self, piece: Piece, raw: str, stops: bool) -> None:
        if not raw:
            return
        if self._parser is None:
            self._answer(piece, raw, stops)
        else:
            self._merge(piece, self._parser.feed(raw), stops)

    def _merge(self, piece: Piece, events: Iterable[Event], stops: bool) -> None:
        for event in events:
            if piece.stop is not None:
                return
            if event.text:
                self._answer(piece, event.text, stops)
            elif event.reasoning:
                piece.reasoning += event.reasoning
            elif event.tool_call is not None:
                self.called_tools = True
                piece.tool_calls += (event.tool_call,)

    def _answer(self, piece: Piece, text: str, stops: bool) -> None:
        if self._stops is None:
            piece.text += text
        elif not stops:
            piece.text += self._stops.flush() + text
        else:
            emitted, piece.stop = self._stops.feed(text)
            piece.text += emitted
