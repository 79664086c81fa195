"""Random lives of the scheduler with everything a row can leave behind in its slot.

Beside what ``tests/engine/test_simulation.py`` does by seed: requests with penalties, bias,
seeds, grammars and minimum lengths among plain ones (fault 20), a clock that leaps as after a
suspend (fault 28), and a bound on how long anybody waits (fault 34). The model is a function of
the tokens before, its logits are rich enough that every parameter shows.

``python -m tests.faults.lives FIRST LAST`` runs a range of seeds; a failing one is printed and
can be run again alone.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from mlxforge.engine import memory
from mlxforge.engine.errors import DeadlineExceeded, ResourceExhausted
from mlxforge.engine.grammar.matcher import Grammar
from mlxforge.engine.grammar.vocabulary import Vocabulary
from mlxforge.engine.model.runner import Midway

from ..engine.fake_runner import END, VOCAB, FakeRunner
from ..engine.harness import Answer, Harness
from ..engine.test_simulation import Simulation

# Below 1, so that the likeliest token stays the fake model's own.
_NOISE = np.random.default_rng(5).random((1009, VOCAB), np.float32) * 0.99
_GRAMMARS = ("(ab|cd|efg)*h", "[a-f]+x", "(a|bb|ccc)(d|e)[f-w]*", "[^a]*")
_SPECIAL_TOKENS = 14
# Steps per position of work that was there before; the first 300 seeds reach 1.0.
PATIENCE = 2.0


class SamplingRunner(FakeRunner):
    """The fake model with something to choose from beside its likeliest token."""

    def decode(self, tokens: mx.array, lengths: Sequence[int], midway: Midway = None) -> mx.array:
        likeliest = super().decode(tokens, lengths, midway)
        noise = [_NOISE[sum(h[-3:]) * 31 % 1009 + len(h) % 3 - 1] for h in self.histories]
        return likeliest + mx.array(np.stack(noise))


@dataclass(frozen=True)
class Controls:
    """A tokenizer's control tokens."""

    ids: frozenset[int]


class _Letters:
    """A tokenizer of single letters; token 0 ends."""

    special_token_ids = frozenset({END})
    control_tokens = Controls(frozenset({END}))

    @staticmethod
    def token_bytes(token_id: int) -> bytes:
        return b"" if token_id == END else bytes([ord("a") + token_id - 1])

    @staticmethod
    def encode(text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [ord(char) - ord("a") + 1 for char in text]


@functools.cache
def _grammar(regex: str) -> Grammar:
    source = '{"grammars": [{"lark_grammar": "start: /%s/"}]}' % regex  # noqa: UP031 - JSON has braces
    return Grammar(_vocabulary(), source)


@functools.cache
def _vocabulary() -> Vocabulary:
    return Vocabulary(_Letters(), VOCAB, {END})


def _submit(harness: Harness, asked: dict[str, Any]) -> Answer:
    regex = asked.get("regex")
    answer = harness.submit(**{name: value for name, value in asked.items() if name != "regex"})
    if regex is not None:
        for sequence in answer.group.sequences:
            sequence.grammar = _grammar(regex).start()
    return answer


class SlotLife(Simulation):
    """One random life; ``run`` raises ``AssertionError`` when something does not hold."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.runner = SamplingRunner(chunk_unit=self.runner.shapes.unit)
        old = self.harness
        self.harness = Harness(
            self.runner,
            VOCAB,
            total=old.memory.total,
            chunk=self.random.choice((1, 7, 16, 64)),
            rows=old.scheduler.max_rows,
            waiting=old.scheduler.max_waiting,
            clock=self.clock,
        )
        self.special: dict[str, dict[str, Any]] = {}
        self.steps = 0
        self.limits: dict[str, float] = {}
        self._count_steps()

    def _count_steps(self) -> None:
        step = self.harness.step

        def counted() -> bool:
            worked = step()
            self.steps += 1
            for name, limit in list(self.limits.items()):
                if self.harness.answers[name].ended:
                    del self.limits[name]
                else:
                    assert self.steps <= limit, f"{name} starves"
            return worked

        self.harness.step = counted  # type: ignore[method-assign]  # instead of the method

    def _act(self) -> None:
        known = len(self.harness.answers)
        super()._act()
        if self.random.random() < 0.15:
            for _ in range(self.random.choice((1, 1, 3))):
                self._submit_special()
        if self.random.random() < 0.01:
            self.clock.now += 8 * 3600
        for answer in list(self.harness.answers.values())[known:]:
            self.limits[answer.id] = self.steps + 20 + PATIENCE * self._work()

    def _work(self) -> int:
        """Positions that everybody there may come to need, each once in prefill and decode."""
        return sum(
            sequence.final_length
            for answer in self.harness.answers.values()
            if not answer.ended
            for sequence in answer.group.sequences
        )

    def _submit_special(self) -> None:
        draw = self.random
        prompt = [draw.randrange(1, VOCAB) for _ in range(draw.randint(1, 12))]
        asked: dict[str, Any] = {
            "prompt": prompt,
            "max_tokens": draw.randint(1, _SPECIAL_TOKENS),
            "seed": draw.getrandbits(64),
            "ends": frozenset({END}) if draw.random() < 0.5 else frozenset(),
        }
        choices = {
            "temperature": draw.choice((0.3, 1.0, 5.0)),
            "top_p": draw.choice((0.3, 0.9)),
            "top_k": draw.choice((1, 3)),
            "min_p": 0.2,
            "repetition_penalty": draw.choice((0.5, 1.8)),
            "presence_penalty": draw.choice((-2.0, 2.0)),
            "frequency_penalty": 1.5,
            "logit_bias": tuple((draw.randrange(VOCAB), draw.choice((-100.0, 3.0, 100.0)))
                                for _ in range(2)),
            "min_tokens": draw.randint(1, 8),
        }  # fmt: skip
        asked |= {name: value for name, value in choices.items() if draw.random() < 0.35}
        if draw.random() < 0.4:
            asked |= {"regex": draw.choice(_GRAMMARS), "ends": frozenset({END})}
        try:
            self.harness.memory.check(len(prompt), asked["max_tokens"], 1)
        except ResourceExhausted:
            return
        self.special[_submit(self.harness, asked).id] = asked

    def _check(self, answer: Answer) -> None:
        if answer.id not in self.special:
            super()._check(answer)
            if isinstance(answer.error, DeadlineExceeded):
                assert answer.group.deadline is not None, "ended by a clock it did not ask for"
            return
        assert answer.ends == 1
        if answer.tokens[0]:
            alone = self._alone(self.special[answer.id])
            [got], [whole] = answer.tokens, alone.tokens
            assert got == whole[: len(got)], f"{answer.id}: not what it says alone"
            if answer.error is None:
                assert got == whole
                assert answer.finishes[0].reason is alone.finishes[0].reason

    def _alone(self, asked: dict[str, Any]) -> Answer:
        harness = Harness(SamplingRunner(), VOCAB, rows=1, clock=self.clock)
        answer = _submit(harness, asked)
        harness.run()
        return answer


def prepare() -> None:
    """As the simulator's fixtures do: nothing is compiled, rows get little beyond their needs."""
    mx.disable_compile()
    memory._HEADROOM = 4
    logging.getLogger("mlxforge.engine.core").setLevel(logging.CRITICAL + 1)


def main() -> int:
    first, last = map(int, sys.argv[1:3])
    prepare()
    failed = 0
    start = time.monotonic()
    for seed in range(first, last):
        try:
            SlotLife(seed).run()
        except Exception as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
    print(f"{last - first} seeds, {failed} failed, {time.monotonic() - start:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
