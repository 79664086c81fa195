"""The real core, scheduler and memory over a fake model and a virtual clock, by seed.

A failing seed is in the test's name; MLXFORGE_SEEDS=10000 runs more of them, and
MLXFORGE_SEED=17 one.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

import mlx.core as mx
import pytest

from mlxforge.engine import memory
from mlxforge.engine.errors import (
    Cancelled,
    DeadlineExceeded,
    InternalError,
    ResourceExhausted,
)
from mlxforge.engine.output import FinishReason

from .fake_runner import END, VOCAB, FakeRunner, answer_to
from .harness import Answer, Harness

_ONE = os.environ.get("MLXFORGE_SEED")
SEEDS = [int(_ONE)] if _ONE else range(int(os.environ.get("MLXFORGE_SEEDS", "150")))
ENDS = frozenset({END})


@pytest.fixture(scope="module", autouse=True)
def _uncompiled() -> None:
    mx.disable_compile()


@pytest.fixture(autouse=True)
def _little_headroom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers here are shorter than what rows get beyond their needs: they would never grow."""
    monkeypatch.setattr(memory, "_HEADROOM", 4)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def expected(answer: Answer) -> list[int]:
    sequence = answer.group.sequences[0]
    return answer_to(sequence.prompt, sequence.max_tokens, sequence.end_ids)


def check(answer: Answer) -> None:
    """What came is right as far as it came, and whole unless there was an error."""
    whole = expected(answer)
    for row in answer.tokens:
        assert row == whole[: len(row)], f"{answer.id}: wrong token"
    assert answer.ends == 1, f"{answer.id} ended {answer.ends} times"
    if answer.error is None:
        assert all(row == whole for row in answer.tokens)
        for finish in answer.finishes.values():
            stopped = whole[-1] in answer.group.sequences[0].end_ids
            assert finish.reason is (FinishReason.STOP if stopped else FinishReason.LENGTH)
            assert finish.usage.completion_tokens == len(whole)
            assert finish.usage.prompt_tokens == len(answer.group.sequences[0].prompt)


def is_gone(harness: Harness, answer: Answer) -> bool:
    """Whether the engine holds nothing for a request any more."""
    core, mine = harness.core, answer.group.sequences
    entries = list(harness.scheduler.waiting) + [
        entry for job in harness.scheduler.jobs for entry in job.pending
    ]
    queued = [sequence for entry in entries for sequence in entry.live]
    return answer.id not in core.groups and not any(
        held is sequence for held in core.batch + queued for sequence in mine
    )


class Simulation:
    """One random life of an engine."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = Clock()
        self.runner = FakeRunner(chunk_unit=self.random.choice((1, 1, 4)))
        self.harness = Harness(
            self.runner,
            VOCAB,
            total=self.random.choice((140, 170, 200, 300, 100_000)),
            chunk=self.random.choice((1, 7, 16, 64)),
            rows=self.random.choice((1, 3, 8, 8)),
            waiting=self.random.choice((3, 50)),
            clock=self.clock,
        )
        self.aborted: set[str] = set()
        self.failed = False

    def run(self) -> None:
        for _ in range(self.random.randint(5, 90)):
            self._act()
            self.harness.step()
            self.clock.now += self.random.choice((0.0, 0.01, 0.01, 0.5))
        self.runner.before_forward = lambda: None
        self.harness.run()
        for answer in self.harness.answers.values():
            self._check(answer)
        self.harness.check_resting()

    def _act(self) -> None:
        choice = self.random.random()
        if choice < 0.3:
            for _ in range(self.random.choice((1, 1, 2, 6))):
                self._submit()
        elif choice < 0.4 and self.harness.answers:
            self._abort(self.random.choice(list(self.harness.answers)))
        elif choice < 0.41:
            self._break()

    def _submit(self) -> None:
        length = self.random.choice((1, 2, 9, self.random.randint(1, 80)))
        prompt = [self.random.randrange(VOCAB) for _ in range(length)]
        count = self.random.choice((1, self.random.randint(1, 80), 60))
        n = self.random.choice((1, 1, 1, 2, 3))
        try:
            self.harness.memory.check(length, count, n)
        except ResourceExhausted as error:
            assert error.reason == "REQUEST_TOO_LARGE" and error.retry_after is None
            return
        deadline = self.clock() + self.random.uniform(0, 3) if self.random.random() < 0.2 else None
        ends = ENDS if self.random.random() < 0.2 else frozenset[int]()
        n = min(n, self.harness.scheduler.max_rows)
        answer = self.harness.submit(prompt, count, n=n, ends=ends, deadline=deadline)
        if self.random.random() < 0.05:
            self._abort(answer.id)

    def _abort(self, name: str) -> None:
        self.aborted.add(name)
        self.harness.core.abort(name)

    def _break(self) -> None:
        """The next forward pass fails."""
        error = self.random.choice((RuntimeError("broken"), MemoryError()))

        def fail() -> None:
            self.runner.before_forward = lambda: None
            raise error

        self.failed = True
        self.runner.before_forward = fail

    def _check(self, answer: Answer) -> None:
        check(answer)
        error = answer.error
        if isinstance(error, Cancelled):
            assert answer.id in self.aborted
        elif isinstance(error, DeadlineExceeded):
            assert answer.group.deadline is not None and answer.group.deadline <= self.clock.now
        elif isinstance(error, ResourceExhausted):
            assert error.reason == "QUEUE_FULL" or self.failed
        elif error is not None:
            assert isinstance(error, InternalError) and self.failed


@pytest.mark.parametrize("seed", SEEDS)
def test_random_life(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "mlxforge.engine.core")
    Simulation(seed).run()


# One fixed scene, for what is tried at each of its steps: a running row, a prompt in several
# chunks, three choices, one that waits for a row.


def scene(
    rows: int = 5, clock: Callable[[], float] = time.monotonic
) -> tuple[Harness, FakeRunner, list[Answer]]:
    runner = FakeRunner()
    harness = Harness(runner, VOCAB, chunk=8, rows=rows, clock=clock)
    answers = [
        harness.submit([3, 4], 14),
        harness.submit(list(range(20)) * 2, 6),
        harness.submit([5], 7, n=3),
        harness.submit([1, 2, 3, 4, 5], 4),
    ]
    return harness, runner, answers


def steps_of_scene() -> int:
    harness, _, _ = scene()
    steps = 0
    while harness.step():
        steps += 1
    return steps


def every_step() -> Iterator[tuple[int, int]]:
    for step in range(steps_of_scene() + 1):
        for place in range(4):
            yield step, place


@pytest.mark.parametrize(("step", "place"), list(every_step()))
def test_cancel_at_every_step(step: int, place: int) -> None:
    harness, _, answers = scene()
    for _ in range(step):
        harness.step()
    ended = answers[place].ended
    harness.core.abort(answers[place].id)
    harness.step()
    assert is_gone(harness, answers[place])
    harness.run()
    for answer in answers:
        check(answer)
        cancelled = answer is answers[place] and not ended
        assert isinstance(answer.error, Cancelled) if cancelled else answer.error is None
    harness.check_resting()


@pytest.mark.parametrize("step", range(steps_of_scene() + 1))
def test_deadline_at_every_step(step: int) -> None:
    clock = Clock()
    harness, _, answers = scene(clock=clock)
    late = harness.submit([9, 9, 9], 30, deadline=clock.now + 5)
    for _ in range(step):
        harness.step()
    ended = late.ended
    clock.now += 5
    harness.step()
    assert is_gone(harness, late)
    assert ended or isinstance(late.error, DeadlineExceeded)
    harness.run()
    for answer in answers:
        check(answer)
        assert answer.error is None
    harness.check_resting()


def test_a_deadline_that_has_passed_costs_no_forward_pass() -> None:
    clock = Clock()
    runner = FakeRunner()
    runner.before_forward = lambda: pytest.fail("a forward pass")
    harness = Harness(runner, VOCAB, clock=clock)
    answer = harness.submit([1, 2], 5, deadline=clock.now)
    harness.run()
    assert isinstance(answer.error, DeadlineExceeded)
    harness.check_resting()


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError()])
@pytest.mark.parametrize("forward", range(40))
def test_forward_fails_at_every_pass(
    forward: int, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Faults 3 and 4: the requests in the step fail once, the next ones are served."""
    caplog.set_level("CRITICAL", "mlxforge.engine.core")
    harness, runner, answers = scene(rows=3)
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        if calls == forward + 1:
            raise error

    runner.before_forward = fail
    harness.run()
    after = harness.submit([8, 8], 5)
    harness.run()
    kind = ResourceExhausted if isinstance(error, MemoryError) else InternalError
    for answer in [*answers, after]:
        check(answer)
        assert answer.error is None or isinstance(answer.error, kind)
    failed = [answer for answer in [*answers, after] if answer.error is not None]
    assert bool(failed) is (calls > forward)
    assert after.error is None or calls == forward + 1
    harness.check_resting()


def test_requests_that_wait_outlive_a_failed_step(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "mlxforge.engine.core")
    runner = FakeRunner()
    harness = Harness(runner, VOCAB, rows=1)
    first, second = harness.submit([1, 2], 9), harness.submit([3, 4], 9)
    harness.step()

    def fail() -> None:
        runner.before_forward = lambda: None
        raise RuntimeError("broken")

    runner.before_forward = fail
    harness.run()
    assert isinstance(first.error, InternalError) and second.error is None
    check(second)


def test_long_prompts_starve_nobody() -> None:
    """Fault 34: a short request among a stream of long ones ends within a bound of steps."""
    harness = Harness(FakeRunner(), VOCAB, chunk=16, rows=4)
    prompt = [1] * 400
    long = [harness.submit(prompt, 4) for _ in range(6)]
    short = harness.submit([2, 3], 4)
    steps = 0
    while not short.ended:
        if steps % 20 == 0:
            long.append(harness.submit(prompt, 4))
        harness.step()
        steps += 1
    # Six prompts of 25 chunks each were before it, a seventh may be under way.
    assert steps <= 8 * 25
    running = harness.submit([5], 60)
    while not running.ended:
        harness.step()
        steps += 1
    harness.run()
    for answer in [*long, short, running]:
        check(answer)


def test_rows_go_on_between_the_chunks_of_a_long_prompt() -> None:
    harness = Harness(FakeRunner(), VOCAB, chunk=16)
    running = harness.submit([5], 100)
    for _ in range(4):
        harness.step()
    harness.submit([1] * 500, 2)
    for _ in range(20):
        before = len(running.tokens[0])
        harness.step()
        assert len(running.tokens[0]) == before + 1


def test_queue_full() -> None:
    harness = Harness(FakeRunner(), VOCAB, rows=1, waiting=2)
    answers = [harness.submit([1, 2], 3) for _ in range(5)]
    harness.run()
    refused = [answer for answer in answers if answer.error is not None]
    for answer in refused:
        assert isinstance(answer.error, ResourceExhausted) and answer.error.reason == "QUEUE_FULL"
        assert answer.error.retry_after
    assert len(refused) == 3 == harness.core.stats.rejected
    harness.check_resting()


def test_too_large_says_how_much_is_needed_and_available() -> None:
    harness = Harness(FakeRunner(), VOCAB, total=3 << 20)
    with pytest.raises(ResourceExhausted, match=r"4 MiB .* 3 MiB") as caught:
        harness.memory.check(1 << 20, 1 << 20, 1)
    assert caught.value.reason == "REQUEST_TOO_LARGE" and caught.value.retry_after is None
    assert harness.memory.longest(10, 1, 4 << 20) == (3 << 19) - 10


def test_the_largest_requests_that_fit_finish_together() -> None:
    """Memory for one such request at a time: they are put back and recomputed, none is refused."""
    harness = Harness(FakeRunner(), VOCAB, total=208, chunk=32)
    harness.memory.check(4, 100, 1)
    answers = [harness.submit([i, i, i, i], 100) for i in range(4)]
    harness.run()
    for answer in answers:
        check(answer)
        assert answer.error is None
    assert harness.core.stats.preemptions > 0
    harness.check_resting()


def test_memory_of_the_cancelled_half_is_free_one_step_later() -> None:
    harness = Harness(FakeRunner(), VOCAB, rows=64)
    answers = [harness.submit([i % VOCAB, 1], 500) for i in range(64)]
    for _ in range(30):
        harness.step()
    for answer in answers[::2]:
        harness.core.abort(answer.id)
    harness.step()
    assert harness.core.runner.rows == 32
    assert all(is_gone(harness, answer) for answer in answers[::2])
    for answer in answers:
        harness.core.abort(answer.id)
    harness.run()
    harness.check_resting()


def test_finished_requests_leave_no_deadlines_behind() -> None:
    clock = Clock()
    harness = Harness(FakeRunner(), VOCAB, clock=clock)
    for _ in range(300):
        harness.submit([1], 1, deadline=clock.now + 3600)
        harness.run()
    assert len(harness.core.answers._deadlines) < 100
