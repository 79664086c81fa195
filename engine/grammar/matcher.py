"""Compiled grammars, the state of one answer, and the masks of a batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
from llguidance import LLExecutor, LLMatcher
from numpy.typing import NDArray

from ..errors import EngineError, ResourceExhausted, Unsupported
from .vocabulary import Vocabulary

_ALL = np.uint32(0xFFFFFFFF)
# Stop reasons of llguidance that mean "over the limit" rather than "broken".
_LIMITS = frozenset({"ParserTooComplex", "LexerTooComplex", "MaxTokensTotal", "MaxTokensParser"})


class Grammar:
    """A compiled constraint, shared by all answers that use it; immutable.

    ``special_token_ids`` are the special tokens that the grammar itself may place (the marks
    of a model's tool calls); all others stay out of constrained text.
    """

    __slots__ = ("_matcher", "_text_words", "cost_bytes", "source", "vocabulary")

    def __init__(
        self,
        vocabulary: Vocabulary,
        matcher: LLMatcher,
        source: str,
        cost_bytes: int,
        special_token_ids: Iterable[int] = (),
    ) -> None:
        self.vocabulary = vocabulary
        self.source = source
        self.cost_bytes = cost_bytes
        self._matcher = matcher
        self._text_words = vocabulary.text_words | vocabulary.words(special_token_ids)

    def start(self) -> GrammarState:
        """The state of a new answer; costs microseconds."""
        return GrammarState(self.vocabulary, self._matcher.deep_copy(), self._text_words)


class GrammarState:
    """Where one answer stands in its grammar.

    One thread at a time. After an error the state stays failed: ``error`` says why, and the
    row must be ended with it.
    """

    __slots__ = ("_ended", "_text_words", "error", "matcher", "vocabulary")

    def __init__(
        self, vocabulary: Vocabulary, matcher: LLMatcher, text_words: NDArray[np.uint32]
    ) -> None:
        self.vocabulary = vocabulary
        self.matcher = matcher
        self.error: EngineError | None = None
        self._text_words = text_words
        self._ended = False

    def accept(self, token_id: int) -> None:
        """Append a token. Raises ``EngineError`` when the grammar does not allow it."""
        if self.error is not None:
            raise self.error
        if token_id in self.vocabulary.eos_token_ids and self.can_end:
            self._ended = True
        elif self._ended or not self.matcher.consume_token(token_id):
            raise self._fail(f"the grammar does not allow token {token_id} here")

    def accepts(self, token_ids: Sequence[int]) -> int:
        """How many of these tokens, in order, could be appended; appends none."""
        if self.error is not None or self._ended:
            return 0
        return self.matcher.validate_tokens(list(token_ids))

    @property
    def can_end(self) -> bool:
        """Whether the text so far conforms, so that the end token is allowed."""
        return self.error is None and (self._ended or self.matcher.is_accepting())

    @property
    def complete(self) -> bool:
        """Whether nothing but the end may follow."""
        if self._ended:
            return True
        return self.error is None and self.matcher.is_stopped() and self.matcher.is_accepting()

    def forced_tokens(self) -> list[int]:
        """Tokens that must follow whatever the model says; does not append them."""
        if self.error is not None or self._ended:
            return []
        return self.matcher.compute_ff_tokens()

    def copy(self) -> GrammarState:
        """An independent state at the same place, for another choice of the request."""
        other = GrammarState(self.vocabulary, self.matcher.deep_copy(), self._text_words)
        other.error, other._ended = self.error, self._ended
        return other

    def _settle(self, row: NDArray[np.uint32]) -> None:
        """Turn what llguidance wrote into ``row`` into the mask of this state."""
        if self._ended or self.error is not None:
            row[:] = self.vocabulary.eos_words
            return
        row &= self._text_words
        if self.matcher.is_error():
            self._fail("the constraint became too complex")
        elif self.can_end:
            row |= self.vocabulary.eos_words
        elif not row.any():
            self._fail("the model's vocabulary cannot continue the constraint")
        if self.error is not None:
            row[:] = self.vocabulary.eos_words

    def _fail(self, what: str) -> EngineError:
        reason = self.matcher.stop_reason()
        if self.matcher.is_error() and reason in _LIMITS:
            self.error = ResourceExhausted(
                f"{what} ({reason}); simplify it",
                reason="CONSTRAINT_TOO_COMPLEX",
                retry_after=None,
            )
        else:
            self.error = Unsupported(f"constrained output: {what}", reason="CONSTRAINT_FAILED")
        return self.error


_executor: tuple[int, LLExecutor] | None = None


def _pool() -> LLExecutor:
    """The process's mask threads; made anew in a forked child, which has no threads."""
    global _executor
    if _executor is None or _executor[0] != os.getpid():
        threads = max(1, min(16, (os.cpu_count() or 2) - 1))
        _executor = (os.getpid(), LLExecutor(num_threads=threads))
    return _executor[1]


def fill_masks(states: Sequence[GrammarState | None], out: NDArray[np.uint32]) -> tuple[int, ...]:
    """Write the mask of each row's next token.

    ``out``: C-contiguous uint32, shape (rows, words) with at least ``len(states)`` rows and
    ``ceil(vocab_size / 32)`` words; bit ``i % 32`` of word ``i // 32`` set means that token
    ``i`` is allowed. Rows without a state get all ones. End tokens are allowed exactly when
    the text so far conforms. Rows in parallel, GIL released.

    Returns the rows whose state failed (``GrammarState.error``); others are not affected.
    """
    if out.dtype != np.uint32 or out.ndim != 2 or not out.flags.c_contiguous:
        raise ValueError("out must be a C-contiguous uint32 array of two dimensions")
    if len(states) > out.shape[0]:
        raise ValueError("out has fewer rows than there are states")
    work: list[tuple[LLMatcher, int]] = []
    for row, state in enumerate(states):
        if state is None:
            out[row] = _ALL
        elif out.shape[1] != state.vocabulary.mask_words:
            raise ValueError(f"out must have {state.vocabulary.mask_words} words a row")
        elif state.error is None and not state._ended:
            work.append((state.matcher, row))
    if work:
        _pool().unsafe_compute_mask_ptr(work, out.ctypes.data, out.shape[1] * 4, out.shape[0])
    failed = []
    for row, state in enumerate(states):
        if state is not None:
            state._settle(out[row])
            if state.error is not None:
                failed.append(row)
    return tuple(failed)
