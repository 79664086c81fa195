"""Text of a growing list of tokens, piece by piece."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

_make_decoder = codecs.getincrementaldecoder("utf-8")


class Detokenizer:
    """Incremental detokenizer of one answer; O(1) per token.

    Text comes in whole characters: bytes that only begin one are held back until the rest
    is there, bytes that can never become one are U+FFFD. The concatenation of what ``add``
    and ``flush`` return is the text of all tokens, special ones left out.

    ``continues_text``: the tokens follow other text. A tokenizer of the sentencepiece kind
    puts a space before a text's first word; it belongs to the text when the answer
    continues a prompt and does not when it opens a chat's turn. ``skipped``: the ids to
    leave out; default: the tokenizer's special tokens.
    """

    __slots__ = ("_decoder", "_skipped", "_strip", "_table")

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        continues_text: bool = True,
        skipped: frozenset[int] | None = None,
    ) -> None:
        self._table = tokenizer.byte_table
        self._skipped = tokenizer.special_token_ids if skipped is None else skipped
        self._strip = tokenizer.strips_leading_space and not continues_text
        self._decoder = _make_decoder("replace")

    def add(self, token_id: int) -> str:
        """The text that is complete with this token; often empty inside a character."""
        if token_id in self._skipped or not 0 <= token_id < len(self._table):
            return ""
        piece = self._table[token_id]
        if self._strip and piece:
            self._strip = False
            piece = piece.removeprefix(b" ")
        return self._decoder.decode(piece)

    def flush(self) -> str:
        """What is left at the end: U+FFFD for an unfinished character, else nothing."""
        return self._decoder.decode(b"", final=True)
