"""Masks, states and their errors, with SmolLM2's vocabulary."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from mlxforge.engine.errors import EngineError, ResourceExhausted, Unsupported
from mlxforge.engine.grammar import GrammarCompiler, GrammarState, fill_masks
from mlxforge.engine.request import Constraint, ConstraintKind
from mlxforge.engine.tokenizer import Tokenizer

from .walk import allowed, walk

OBJECT = Constraint(ConstraintKind.JSON_OBJECT)


def regex(source: str) -> Constraint:
    return Constraint(ConstraintKind.REGEX, source)


def masks(states: list[GrammarState | None], words: int) -> np.ndarray:
    out = np.zeros((len(states), words), np.uint32)
    assert fill_masks(states, out) == ()
    return out


def feed(state: GrammarState, tokenizer: Tokenizer, text: str) -> None:
    for token in tokenizer.encode(text, add_special_tokens=False):
        state.accept(token)


def test_rows_without_grammar_are_all_ones(compiler: GrammarCompiler) -> None:
    state = compiler.compile(regex("a")).start()
    out = masks([None, state, None], compiler.vocabulary.mask_words)
    assert (out[[0, 2]] == 0xFFFFFFFF).all()
    assert 0 < np.unpackbits(out[1].view(np.uint8)).sum() < 10


def test_bits_beyond_the_vocabulary_are_never_set(compiler: GrammarCompiler) -> None:
    state = compiler.compile(regex("(?s:.*)")).start()
    ids = allowed(state)
    specials = compiler.vocabulary.special_token_ids - compiler.vocabulary.eos_token_ids
    assert ids.max() < 49_152 < compiler.vocabulary.size
    assert not specials & set(ids.tolist())


def test_the_end_is_allowed_when_the_text_conforms(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    state = compiler.compile(regex("ab?")).start()
    eos = min(tokenizer.eos_token_ids)
    assert (state.can_end, state.complete) == (False, False)
    assert not tokenizer.eos_token_ids & set(allowed(state).tolist())
    feed(state, tokenizer, "a")
    assert (state.can_end, state.complete) == (True, False)
    assert tokenizer.eos_token_ids <= set(allowed(state).tolist())
    state.accept(eos)
    assert (state.can_end, state.complete) == (True, True)
    assert set(allowed(state).tolist()) == tokenizer.eos_token_ids


def test_complete_means_that_only_the_end_may_follow(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    state = compiler.compile(regex("yes")).start()
    feed(state, tokenizer, "yes")
    assert state.complete
    assert set(allowed(state).tolist()) == set(tokenizer.eos_token_ids)


def test_a_token_that_is_not_allowed_fails_its_row_only(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    grammar = compiler.compile(regex("[0-9]+"))
    bad, good = grammar.start(), grammar.start()
    (letter,) = tokenizer.encode("x", add_special_tokens=False)
    with pytest.raises(Unsupported):
        bad.accept(letter)
    assert isinstance(bad.error, EngineError)
    with pytest.raises(EngineError):
        bad.accept(letter)
    out = np.zeros((2, compiler.vocabulary.mask_words), np.uint32)
    assert fill_masks([bad, good], out) == (0,)
    feed(good, tokenizer, "12")
    assert good.can_end


def test_row_20_states_do_not_know_of_each_other(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    grammar = compiler.compile(OBJECT)
    alone = [walk(grammar, seed, patience=15, limit=120) for seed in range(3)]
    states = [grammar.start() for _ in range(12)]
    for index, state in enumerate(states):
        feed(state, tokenizer, '{"k": [' + "1," * index)
    together = [walk(grammar, seed, patience=15, limit=120) for seed in range(3)]
    assert alone == together


def test_copies_go_their_own_way(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    state = compiler.compile(regex("(ab|ac)d")).start()
    feed(state, tokenizer, "a")
    other = state.copy()
    feed(state, tokenizer, "b")
    feed(other, tokenizer, "c")
    assert not np.array_equal(
        masks([state], compiler.vocabulary.mask_words),
        masks([compiler.compile(regex("(ab|ac)d")).start()], compiler.vocabulary.mask_words),
    )
    feed(other, tokenizer, "d")
    assert other.complete and not state.complete


def test_lead_in_tokens_may_come_first_and_once(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    opening = 5  # a control token of SmolLM2
    state = compiler.compile(regex("a")).start(frozenset({opening}))
    assert opening in allowed(state)
    state.accept(opening)
    assert opening not in allowed(state)
    feed(state, tokenizer, "a")
    assert state.complete


def test_a_lexer_out_of_fuel_does_not_harm_others(
    compiler: GrammarCompiler, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States of one grammar share a lexer, which is dead for all when one exhausts it."""
    grammar = compiler.compile(regex("[a-z]{3}[0-9]{3}"))
    first, second = grammar.start(), grammar.start()
    feed(second, tokenizer, "abc")
    assert first._replica is second._replica
    # What the shared lexer does then: it refuses everything and reports nothing.
    refusing = compiler.compile(regex("!")).fresh_matcher()
    second.matcher = refusing
    feed(second, tokenizer, "12")
    assert second._replica is None and first._replica is not None and first._replica.broken
    assert grammar.start()._replica is not first._replica


def test_masks_are_made_without_the_gil(compiler: GrammarCompiler) -> None:
    """Another thread runs on while the masks of a large batch are made."""
    grammar = compiler.compile(OBJECT)
    states: list[GrammarState | None] = [grammar.start() for _ in range(64)]
    out = np.zeros((64, compiler.vocabulary.mask_words), np.uint32)
    ticks, stop = [0], threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks[0] += 1

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks[0]
    for _ in range(50):
        fill_masks(states, out)
    after = ticks[0]
    stop.set()
    thread.join()
    assert after > before


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((1, 3), np.uint32),
        np.zeros((1, 1539), np.int32),
        np.zeros(1539, np.uint32),
        np.zeros((0, 1539), np.uint32),
    ],
)
def test_wrong_masks_are_refused(compiler: GrammarCompiler, out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="out"):
        fill_masks([compiler.compile(OBJECT).start()], out)


def test_a_grammar_that_needs_a_control_token_fails_only_its_row(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    grammar = compiler.compile(Constraint(ConstraintKind.GRAMMAR, 'start: "a" <[5]>'))
    state = grammar.start()
    feed(state, tokenizer, "a")
    out = np.zeros((1, compiler.vocabulary.mask_words), np.uint32)
    assert fill_masks([state], out) == (0,)
    assert isinstance(state.error, Unsupported)


def test_growth_beyond_the_limits_ends_the_row(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    look_aheads = "".join(f"(?=.*{letter})" for letter in "abcdefghijkl")
    source = json.dumps({"type": "string", "pattern": f"^{look_aheads}.{{50,90}}$"})
    state = compiler.compile(Constraint(ConstraintKind.JSON_SCHEMA, source)).start()
    good = compiler.compile(OBJECT).start()
    feed(state, tokenizer, '"x')
    out = np.zeros((2, compiler.vocabulary.mask_words), np.uint32)
    assert fill_masks([state, good], out) == (0,)
    assert isinstance(state.error, ResourceExhausted)
    assert out[1].any()
