"""Faults of the scheduler, by seed: 20 (slots reused), 28 (clock), 34 (starvation), 3, 4, 12, 13.

``MLXFORGE_SEEDS=10000`` runs more of them, ``make soak`` 100,000.
"""

from __future__ import annotations

import os
import time

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from mlxforge.engine import memory
from mlxforge.engine.errors import DeadlineExceeded

from ..engine.fake_runner import VOCAB, FakeRunner
from ..engine.harness import Harness
from ..engine.test_simulation import Clock, check
from .lives import SlotLife

SEEDS = range(int(os.environ.get("MLXFORGE_SEEDS", "40")))


@pytest.fixture(autouse=True)
def _as_the_simulator(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    mx.disable_compile()
    monkeypatch.setattr(memory, "_HEADROOM", 4)
    caplog.set_level("CRITICAL", "mlxforge.engine.core")


@pytest.mark.parametrize("seed", SEEDS)
def test_row_20_28_34_slots_clocks_and_patience(seed: int) -> None:
    SlotLife(seed).run()


def test_row_20_the_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask that is left to the next row is noticed."""
    from mlxforge.engine.core import EngineCore

    masks_of = EngineCore._constraints

    def stale(core: EngineCore) -> tuple[NDArray[np.uint32] | None, dict[int, int] | None]:
        masks, forced = masks_of(core)
        if masks is not None and len(masks) > 1:
            masks[1] = masks[0]
        return masks, forced

    monkeypatch.setattr(EngineCore, "_constraints", stale)
    failed = 0
    for seed in range(12):
        try:
            SlotLife(seed).run()
        except AssertionError:
            failed += 1
    assert failed


def test_row_28_a_leap_ends_only_those_whose_time_is_up() -> None:
    """Eight hours pass between two steps: deadlines within them have passed, nothing else."""
    clock = Clock()
    harness = Harness(FakeRunner(), VOCAB, clock=clock)
    patient = [harness.submit([i, 1], 40) for i in range(10)]
    tomorrow = [harness.submit([i, 2], 40, deadline=clock.now + 86_400) for i in range(10)]
    late = [harness.submit([i, 3], 40, deadline=clock.now + 3_600) for i in range(3)]
    for _ in range(5):
        harness.step()
    clock.now += 8 * 3600
    harness.run()
    for answer in [*patient, *tomorrow]:
        check(answer)
        assert answer.error is None
    assert all(isinstance(answer.error, DeadlineExceeded) for answer in late)
    harness.check_resting()


def test_row_28_the_wall_clock_is_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """It jumps by years, forth and back: every deadline is counted by the monotonic clock."""
    jumps = iter(range(10_000))
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real + (-1) ** next(jumps) * 1e8)
    harness = Harness(FakeRunner(), VOCAB)
    answers = [
        harness.submit([i, 1], 30, deadline=time.monotonic() + 600 if i % 2 else None)
        for i in range(20)
    ]
    harness.run()
    assert time.time() != time.time()
    for answer in answers:
        check(answer)
        assert answer.error is None
