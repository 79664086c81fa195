"""From a request's inputs to token ids: prompt, special tokens, limits.

Runs on any thread and lets go of the GIL while it tokenizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import tokenizers
from numpy.typing import NDArray

from ..errors import FieldViolation, InternalError, InvalidRequest
from ..request import EmbeddingRequest
from ..tokenizer.native import native_errors

# A request's answer lists at most so many of its inputs that are wrong.
_MAX_VIOLATIONS = 16


@dataclass(frozen=True, slots=True)
class EncodedInput:
    """One input as token ids (int32); ``truncated``: some were cut off."""

    ids: NDArray[np.int32]
    truncated: bool = False


class InputEncoder:
    """Makes token ids of inputs the way the model was trained on them.

    Texts get the tokenizer's special tokens; spellings of special tokens inside a text stay
    plain text (CVE-2026-44222), here unlike in sentence-transformers. ``end_token`` is put
    after texts that do not end in it (decoders whose tokenizer has no template for it).
    """

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        *,
        max_length: int,
        vocab_size: int,
        end_token: int | None = None,
        lower_case: bool = False,
    ) -> None:
        self.max_length = max_length
        self.vocab_size = vocab_size
        self.end_token = end_token
        self._lower_case = lower_case
        # Truncation is a property of a tokenizer object, so there are two.
        self._whole = tokenizers.Tokenizer.from_str(tokenizer.to_str())
        self._whole.no_padding()
        self._whole.no_truncation()
        self._whole.encode_special_tokens = True
        self._cutting = tokenizers.Tokenizer.from_str(self._whole.to_str())
        self._cutting.encode_special_tokens = True
        self._cutting.enable_truncation(max_length - (end_token is not None))

    def encode(
        self, request: EmbeddingRequest, prompt: str, start: int, stop: int
    ) -> list[EncodedInput]:
        """Inputs ``start`` to ``stop`` of a request, each text after ``prompt``.

        Raises ``InvalidRequest`` for inputs that are too long, empty or not of the vocabulary.
        """
        inputs = request.inputs[start:stop]
        texts = [prompt + item for item in inputs if isinstance(item, str)]
        from_texts = iter(self._encode_texts(texts, truncate=request.truncate))
        encoded = [
            next(from_texts)
            if isinstance(item, str)
            else self._take_ids(item, truncate=request.truncate)
            for item in inputs
        ]
        self._check(encoded, inputs, start)
        return encoded

    def prompt_length(self, prompt: str) -> int:
        """How many tokens of every text are the prompt's and those before it."""
        with native_errors(_cannot_encode):
            encoding = self._whole.encode(prompt)
        trailing = 0
        for special in reversed(encoding.special_tokens_mask):
            if not special:
                break
            trailing += 1
        return len(encoding.ids) - trailing

    def _encode_texts(self, texts: list[str], *, truncate: bool) -> list[EncodedInput]:
        if not texts:
            return []
        if self._lower_case:
            texts = [text.lower() for text in texts]
        tokenizer = self._cutting if truncate else self._whole
        with native_errors(_cannot_encode):
            encodings = tokenizer.encode_batch_fast(texts)
        return [
            EncodedInput(self._end(encoding.ids), truncate and bool(encoding.overflowing))
            for encoding in encodings
        ]

    def _end(self, ids: list[int]) -> NDArray[np.int32]:
        if self.end_token is not None and (not ids or ids[-1] != self.end_token):
            ids = [*ids, self.end_token]
        return np.array(ids, np.int32)

    def _take_ids(self, ids: Sequence[int], *, truncate: bool) -> EncodedInput:
        wide = np.array(ids, np.int64)
        if wide.size and (int(wide.min()) < 0 or int(wide.max()) >= self.vocab_size):
            return EncodedInput(np.array([-1], np.int32))  # told apart by ``_check``
        cut = truncate and wide.size > self.max_length
        return EncodedInput(wide[: self.max_length if cut else None].astype(np.int32), cut)

    def _check(
        self,
        encoded: Sequence[EncodedInput],
        inputs: Sequence[str | tuple[int, ...]],
        start: int,
    ) -> None:
        """Raises ``InvalidRequest`` naming the inputs that the model cannot take."""
        violations: list[FieldViolation] = []
        for index, item in enumerate(encoded):
            size = item.ids.size
            if 0 < size <= self.max_length and item.ids[0] >= 0:
                continue
            name = f"inputs[{start + index}]"
            if not isinstance(inputs[index], str):
                name += ".token_ids.ids"
            if size == 0:
                what = "must give at least one token"
            elif size > self.max_length:
                what = (
                    f"has {size:,} tokens, the model takes {self.max_length:,}; "
                    "shorten it or set truncate"
                )
            else:
                worst = next(
                    i for i in cast(tuple[int, ...], inputs[index]) if not 0 <= i < self.vocab_size
                )
                what = f"must be 0 to {self.vocab_size - 1}, not {worst}"
            violations.append(FieldViolation(name, what))
            if len(violations) == _MAX_VIOLATIONS:
                break
        if violations:
            raise InvalidRequest(*violations)


def _cannot_encode(detail: str) -> InternalError:
    return InternalError(f"a text could not be tokenized: {detail}")
