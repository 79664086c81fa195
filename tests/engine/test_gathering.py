"""An idle engine waits a moment for requests that are being prepared, and for nothing else."""

from __future__ import annotations

from mlxforge.engine.gathering import Gathering, linger

from .fake_runner import VOCAB, FakeRunner
from .harness import Harness


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_requests_that_come_together_are_prefilled_together() -> None:
    harness = Harness(FakeRunner(), VOCAB, clock=Clock())
    harness.core.gathering.preparing = 1
    first = harness.submit([1, 2, 3], 4)
    for _ in range(3):
        assert harness.step()
    assert len(harness.scheduler.waiting) == 1 and not harness.core.batch
    second = harness.submit([4, 5, 6], 4)
    harness.core.gathering.preparing = 0
    harness.step()
    assert len(harness.core.batch) == 2
    harness.run()
    assert first.ended and second.ended
    harness.check_resting()


def test_it_waits_no_longer_than_a_moment() -> None:
    clock = Clock()
    harness = Harness(FakeRunner(), VOCAB, clock=clock)
    harness.core.gathering.preparing = 1
    harness.submit([1, 2, 3], 4)
    harness.step()
    assert not harness.core.batch
    clock.now += 0.021
    harness.step()
    assert harness.core.batch


def test_it_waits_for_no_more_than_can_run() -> None:
    harness = Harness(FakeRunner(), VOCAB, rows=2, clock=Clock())
    harness.core.gathering.preparing = 1
    harness.submit([1, 2, 3], 4)
    harness.step()
    assert not harness.core.batch
    harness.submit([4, 5, 6], 4)
    harness.step()
    assert len(harness.core.batch) == 2


def test_running_rows_wait_for_nobody() -> None:
    harness = Harness(FakeRunner(), VOCAB, clock=Clock())
    harness.submit([1, 2, 3], 40)
    harness.step()
    harness.core.gathering.preparing = 1
    harness.submit([4, 5, 6], 4)
    harness.step()
    assert len(harness.core.batch) == 2


def test_a_long_prefill_allows_a_longer_wait() -> None:
    gathering = Gathering()
    gathering.preparing = 1
    assert gathering.wait(True, 2.0, 10.0) and gathering.wait(True, 2.0, 10.19)
    assert not gathering.wait(True, 2.0, 10.21)
    assert not gathering.wait(False, 0.06, 11.0)
    assert gathering.wait(True, 0.06, 12.0) and gathering.wait(True, 0.06, 12.05)
    assert not gathering.wait(True, 0.06, 12.07)
    gathering.leave()
    assert not gathering.wait(True, 2.0, 10.0)
    assert linger(0.02) == 0.001 and linger(10.0) == 0.005
