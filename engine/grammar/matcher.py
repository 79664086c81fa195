"""Compiled grammars, the state of one answer, and the masks of a batch."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from llguidance import LLExecutor, LLMatcher
from numpy.typing import NDArray

from mlxforge.engine.errors import EngineError, InternalError, ResourceExhausted, Unsupported

from .limits import parser_limits
from .vocabulary import Vocabulary

log = logging.getLogger(__name__)

_ALL = np.uint32(0xFFFFFFFF)
_STATES_PER_REPLICA = 4
_MAX_REPLICAS = 8
_BYTES = 256 * 1024
_BYTES_PER_CHAR = 64


class _Replica:
    """A compiled matcher and the states copied from it, which share its lexer.

    Copies are cheap and profit from each other's lexer states, but take turns at them, and a
    lexer that ran out of fuel for one is of no use to the others.
    """

    __slots__ = ("broken", "matcher", "states")

    def __init__(self, matcher: LLMatcher) -> None:
        self.matcher = matcher
        self.states: weakref.WeakSet[GrammarState] = weakref.WeakSet()
        self.broken = False


class Grammar:
    """A compiled constraint, shared by all answers that use it. Thread-safe.

    ``special_token_ids`` are the special tokens that the grammar itself may place (the marks
    of a model's tool calls); all others stay out of constrained text.
    """

    __slots__ = ("_lock", "_replicas", "source", "text_words", "vocabulary")

    def __init__(
        self, vocabulary: Vocabulary, source: str, special_token_ids: Iterable[int] = ()
    ) -> None:
        self.vocabulary = vocabulary
        self.source = source
        self.text_words = vocabulary.text_words | vocabulary.words(special_token_ids)
        self._lock = threading.Lock()
        self._replicas: list[_Replica] = []
        self._replicate()

    @property
    def cost_bytes(self) -> int:
        """What it takes in memory once in use, estimated: measured 20 to 400 KiB."""
        return _BYTES + _BYTES_PER_CHAR * len(self.source)

    def start(self, lead_in: frozenset[int] = frozenset()) -> GrammarState:
        """The state of a new answer; microseconds, or a few milliseconds every fourth time.

        ``lead_in``: tokens that may come before the constrained text, once (those by which a
        reasoning model opens its thinking).
        """
        with self._lock:
            usable = [replica for replica in self._replicas if not replica.broken]
            replica = min(usable, key=lambda r: len(r.states), default=None)
            crowded = replica is not None and len(replica.states) >= _STATES_PER_REPLICA
            if replica is None or (crowded and len(usable) < _MAX_REPLICAS):
                self._replicas = usable
                replica = self._replicate()
            return GrammarState(self, replica, replica.matcher.deep_copy(), lead_in)

    def fresh_matcher(self) -> LLMatcher:
        """A matcher that shares nothing. Raises ``ResourceExhausted``."""
        tokenizer = self.vocabulary.tokenizer
        matcher = LLMatcher(tokenizer, self.source, log_level=0, limits=parser_limits())
        if matcher.is_error():  # the compiler's helper found it good
            raise ResourceExhausted("the constraint cannot be compiled now")
        return matcher

    def _replicate(self) -> _Replica:
        replica = _Replica(self.fresh_matcher())
        self._replicas.append(replica)
        return replica


class GrammarState:
    """Where one answer stands in its grammar.

    One thread at a time. After an error the state stays failed: ``error`` says why, and the
    row must be ended with it.
    """

    __slots__ = (
        "__weakref__", "_ended", "_lead_in", "_replica", "_tokens", "error", "grammar", "matcher"
    )  # fmt: skip

    def __init__(
        self,
        grammar: Grammar,
        replica: _Replica | None,
        matcher: LLMatcher,
        lead_in: frozenset[int] = frozenset(),
    ) -> None:
        self.grammar = grammar
        self.matcher = matcher
        self.error: EngineError | None = None
        self._tokens: list[int] = []
        self._ended = False
        self._lead_in = lead_in
        self._replica = replica
        if replica is not None:
            replica.states.add(self)

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's vocabulary."""
        return self.grammar.vocabulary

    def accept(self, token_id: int) -> None:
        """Append a token. Raises ``EngineError`` when the grammar does not allow it."""
        if self.error is not None:
            raise self.error
        lead_in, self._lead_in = self._lead_in, frozenset()
        if token_id in lead_in:
            return
        if token_id in self.vocabulary.eos_token_ids and self.can_end:
            self._ended = True
            return
        allowed = not self._ended and (
            self.matcher.consume_token(token_id)
            or (self._revive() and self.matcher.consume_token(token_id))
        )
        if not allowed:
            raise self._fail(f"does not allow token {token_id} here", self._over_limit())
        self._tokens.append(token_id)

    def accepts(self, token_ids: Sequence[int]) -> int:
        """How many of these tokens, in order, could be appended; appends none."""
        if self.error is not None or self._ended:
            return 0
        return int(self.matcher.validate_tokens(list(token_ids)))

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

    @property
    def active(self) -> bool:
        """Whether the next mask has to be computed."""
        return self.error is None and not self._ended

    def copy(self) -> GrammarState:
        """An independent state at the same place, for another choice of the request."""
        matcher = self.matcher.deep_copy()
        other = GrammarState(self.grammar, self._replica, matcher, self._lead_in)
        other.error, other._ended = self.error, self._ended
        other._tokens = self._tokens.copy()
        return other

    def compute(self, row: NDArray[np.uint32]) -> None:
        """Have llguidance write the next mask into ``row``, for this state alone."""
        self.matcher.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)

    def settle(self, row: NDArray[np.uint32]) -> None:
        """Turn what llguidance wrote into ``row`` into the mask of this state."""
        if self.active and not self._finish(row):
            # Another row may have broken the lexer that this one shares: start again alone.
            if self._revive():
                self.compute(row)
            if not self._finish(row):
                if self.matcher.is_error():
                    self._fail("became too complex", True)
                else:
                    self._fail("cannot be continued with the model's vocabulary", False)
        if not self.active:
            row[:] = self.vocabulary.eos_words
        elif self._lead_in:
            row |= self.vocabulary.words(self._lead_in)

    def _finish(self, row: NDArray[np.uint32]) -> bool:
        """Let the end in where the text conforms; False when nothing is allowed."""
        if self.matcher.is_error():
            return False
        row &= self.grammar.text_words
        if self.matcher.is_accepting():
            row |= self.vocabulary.eos_words
            return True
        return bool(row.any())

    def _revive(self) -> bool:
        """Go on with a matcher of its own; False when it does not get to this place either."""
        if self._replica is None:
            return False
        self._replica.broken = True
        self._replica = None
        self.matcher = self.grammar.fresh_matcher()
        return not self._tokens or bool(self.matcher.consume_tokens(self._tokens))

    def _over_limit(self) -> bool:
        message = str(self.matcher.get_error())
        return any(word in message for word in ("TooComplex", "fuel", "too many", "limit"))

    def _fail(self, what: str, over_limit: bool) -> EngineError:
        if over_limit:
            self.error = ResourceExhausted(
                f"the constraint {what}; simplify it",
                reason="CONSTRAINT_TOO_COMPLEX",
                retry_after=None,
            )
        else:
            self.error = Unsupported(f"the constraint {what}", reason="CONSTRAINT_FAILED")
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
    work: list[tuple[GrammarState, int]] = []
    for row, state in enumerate(states):
        if state is None:
            out[row] = _ALL
        elif out.shape[1] != state.vocabulary.mask_words:
            raise ValueError(f"out must have {state.vocabulary.mask_words} words a row")
        elif state.active:
            work.append((state, row))
    if work:
        _compute(work, out)
    failed = []
    for row, state in enumerate(states):
        if state is not None:
            _guarded(state, state.settle, out[row])
            if state.error is not None:
                out[row] = state.vocabulary.eos_words
                failed.append(row)
    return tuple(failed)


def _compute(work: list[tuple[GrammarState, int]], out: NDArray[np.uint32]) -> None:
    """llguidance's masks of active states, in parallel."""
    try:
        _pool().unsafe_compute_mask_ptr(
            [(state.matcher, row) for state, row in work],
            out.ctypes.data,
            out.shape[1] * out.itemsize,
            out.shape[0],
        )
    except Exception:  # which row's fault it was is not said: each by itself
        log.exception("masks could not be computed together")
        for state, row in work:
            _guarded(state, state.compute, out[row])


def _guarded(
    state: GrammarState, do: Callable[[NDArray[np.uint32]], None], row: NDArray[np.uint32]
) -> None:
    """Whatever ``do`` raises is its state's error and no other row's."""
    try:
        do(row)
    except EngineError as error:
        state.error = error
    except Exception:
        log.exception("a constraint failed")
        state.error = InternalError("the constraint could not be continued")
