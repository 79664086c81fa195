"""A model's vocabulary in the form that llguidance takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from llguidance import LLTokenizer
from llguidance._tokenizer import TokenizerWrapper
from numpy.typing import NDArray


class ControlTokenSource(Protocol):
    """The control tokens of a tokenizer."""

    @property
    def ids(self) -> frozenset[int]:
        """Their ids."""
        ...


class VocabularySource(Protocol):
    """What is needed of a tokenizer; ``mlxforge.engine.tokenizer.Tokenizer`` has it."""

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Tokens that are left out of decoded text."""
        ...

    @property
    def control_tokens(self) -> ControlTokenSource:
        """Tokens that steer the model, the special ones among them."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes a token stands for; empty for an id without a token."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Ids of a text."""
        ...


class _Adapter:
    """The attributes that llguidance's ``TokenizerWrapper`` reads."""

    bos_token_id = None

    def __init__(
        self, source: VocabularySource, tokens: Sequence[bytes], eos: int, specials: Sequence[int]
    ) -> None:
        self.eos_token_id = eos
        self.tokens = tokens
        self.special_token_ids = specials
        self._source = source

    def __call__(self, text: bytes) -> list[int]:
        return self._source.encode(text.decode("utf-8"), add_special_tokens=False)


class Vocabulary:
    """Token ids below ``size`` (the width of the logits) and what each stands for.

    Ids without bytes (the logits' padding) and control tokens are never part of a text.
    """

    def __init__(self, source: VocabularySource, size: int, eos_token_ids: Iterable[int]) -> None:
        self.size = size
        self.eos_token_ids = frozenset(i for i in eos_token_ids if 0 <= i < size)
        self.special_token_ids = frozenset(
            i
            for i in source.special_token_ids | source.control_tokens.ids | self.eos_token_ids
            if 0 <= i < size
        )
        self.tokens = tuple(source.token_bytes(i) for i in range(size))
        # llguidance wants an end token; one that never occurs in text stands in for none.
        self.native_eos = sorted(self.eos_token_ids) or [self._unused()]
        special = sorted(self.special_token_ids)
        adapter = _Adapter(source, self.tokens, self.native_eos[0], special)
        self.tokenizer = LLTokenizer(TokenizerWrapper(adapter), eos_token=self.native_eos)
        self.eos_words = self.words(self.eos_token_ids)
        self.text_words = self.words(
            i for i, token in enumerate(self.tokens) if token and i not in self.special_token_ids
        )

    @property
    def mask_words(self) -> int:
        """32-bit words of a mask over the logits."""
        return (self.size + 31) // 32

    def _unused(self) -> int:
        empty = (i for i, token in enumerate(self.tokens) if not token)
        return min(self.special_token_ids, default=next(empty, self.size - 1))

    def words(self, token_ids: Iterable[int]) -> NDArray[np.uint32]:
        """A bit mask of shape (mask_words,) with the bits of these ids set."""
        bits = np.zeros(self.mask_words * 32, np.uint8)
        bits[list(token_ids)] = 1
        return np.packbits(bits, bitorder="little").view(np.uint32)
