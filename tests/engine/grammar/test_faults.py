"""Whatever goes wrong with one row's grammar inside a step ends that request and no other.

The real core, sampler and grammars over the fake model, whose tokens are 24 letters: a row
that was disturbed shows in its very next token.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from mlxforge.engine.errors import Cancelled, EngineError, InternalError, ResourceExhausted
from mlxforge.engine.grammar import Grammar, GrammarCompiler, GrammarState
from mlxforge.engine.request import Constraint, ConstraintKind

from ..fake_runner import VOCAB, FakeRunner, answer_to
from ..harness import Answer, Harness

LENGTH = 12


class NoControls:
    ids: frozenset[int] = frozenset()


class Letters:
    """A tokenizer of 24 letters."""

    special_token_ids: frozenset[int] = frozenset()
    control_tokens = NoControls()

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([ord("a") + token_id])

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [ord(letter) - ord("a") for letter in text if "a" <= letter < "y"]


@pytest.fixture(scope="module")
def grammar() -> Iterator[Grammar]:
    """Any letters: what the fake model says is allowed."""
    compiler = GrammarCompiler(Letters(), VOCAB, ())
    yield compiler.compile(Constraint(ConstraintKind.REGEX, "[a-x]{40,}"))
    compiler.close()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    mx.disable_compile()
    caplog.set_level("CRITICAL")


class Faulty(GrammarState):
    """Raises ``fault`` in the method ``place`` at its call number ``at``."""

    __slots__ = ()
    place, at, calls = "", 0, 0
    fault: Exception = RuntimeError("broken")

    def _tick(self, place: str) -> None:
        if place == Faulty.place:
            Faulty.calls += 1
            if Faulty.calls > Faulty.at:
                raise Faulty.fault

    def accept(self, token_id: int) -> None:
        self._tick("accept")
        super().accept(token_id)

    def settle(self, row: NDArray[np.uint32]) -> None:
        self._tick("settle")
        super().settle(row)


def constrain(answer: Answer, grammar: Grammar) -> list[GrammarState]:
    states = [grammar.start() for _ in answer.group.sequences]
    for sequence, state in zip(answer.group.sequences, states, strict=True):
        sequence.grammar = state
    return states


def scene(grammar: Grammar) -> tuple[Harness, list[Answer]]:
    """Rows with a grammar and without, two choices of one request, one that waits for a row."""
    harness = Harness(FakeRunner(), VOCAB, chunk=8, rows=5)
    answers = [
        harness.submit([3, 4], LENGTH),
        harness.submit([5, 6, 7], LENGTH),
        harness.submit([8], LENGTH, n=2),
        harness.submit([9, 1], LENGTH),
        harness.submit([2, 2, 2], LENGTH),
    ]
    for answer in (answers[0], answers[1], answers[2], answers[4]):
        constrain(answer, grammar)
    return harness, answers


def check_others(harness: Harness, answers: list[Answer], victim: Answer) -> None:
    after = harness.submit([7, 7], LENGTH)
    harness.run()
    for answer in [*answers, after]:
        whole = answer_to(answer.group.sequences[0].prompt, LENGTH, frozenset())
        for row in answer.tokens:
            assert row == whole[: len(row)], f"{answer.id}: wrong token"
        if answer is not victim:
            assert answer.error is None
            assert all(row == whole for row in answer.tokens)
    harness.check_resting()


@pytest.mark.parametrize("at", [0, 1, 5, LENGTH - 2])
@pytest.mark.parametrize("fault", [RuntimeError("broken"), ResourceExhausted("too much")])
@pytest.mark.parametrize("place", ["accept", "settle"])
@pytest.mark.parametrize("choices", [1, 2])
def test_a_fault_ends_its_request_only(
    grammar: Grammar, place: str, fault: Exception, at: int, choices: int
) -> None:
    harness, answers = scene(grammar)
    victim = answers[choices]
    state: Any = victim.group.sequences[-1].grammar
    state.__class__ = Faulty
    Faulty.place, Faulty.at, Faulty.fault, Faulty.calls = place, at, fault, 0
    harness.run()
    expected = type(fault) if isinstance(fault, EngineError) else InternalError
    assert type(victim.error) is expected
    check_others(harness, answers, victim)


@pytest.mark.parametrize("at", [0, 3])
def test_a_matcher_that_cannot_be_asked_ends_its_request_only(grammar: Grammar, at: int) -> None:
    """All masks of a step are one call: its failure must not be everybody's."""
    harness, answers = scene(grammar)
    while answers[1].group.sequences[0].launched <= at:
        harness.step()
    state = answers[1].group.sequences[0].grammar
    assert state is not None
    state.matcher = object()  # type: ignore[assignment]  # no matcher, to fail
    harness.run()
    assert isinstance(answers[1].error, InternalError)
    check_others(harness, answers, answers[1])


@pytest.mark.parametrize("step", range(1, LENGTH + 3))
def test_an_ended_row_needs_no_mask(grammar: Grammar, step: int) -> None:
    """A row is still in the batch when its request has just ended: its grammar is let be."""
    harness, answers = scene(grammar)
    victim = answers[1]
    for _ in range(step):
        harness.step()
    state: Any = victim.group.sequences[0].grammar
    state.__class__ = Faulty
    Faulty.place, Faulty.at, Faulty.fault, Faulty.calls = "settle", 0, RuntimeError("asked"), 0
    ended = victim.ended
    harness.core.abort(victim.id)
    harness.step()
    assert Faulty.calls == 0
    assert ended or isinstance(victim.error, Cancelled)
    check_others(harness, answers, victim)
