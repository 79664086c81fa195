"""How prefill is paced between decode steps."""

from __future__ import annotations

import pytest

from mlxforge.engine import pace as module
from mlxforge.engine.pace import Pace


class Timer:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Timer:
    timer = Timer()
    monkeypatch.setattr(module, "time", timer)
    return timer


def run(
    pace: Pace, timer: Timer, steps: int, prefilled: int, *, decode: float, token: float
) -> None:
    for _ in range(steps):
        timer.now += decode + prefilled * token
        pace.finished(prefilled, True)


def test_without_running_rows_chunks_are_as_large_as_they_may_be() -> None:
    assert Pace(1.5, 4096).budget(False) == 4096


def test_beside_running_rows_a_chunk_takes_its_share_of_a_step(timer: Timer) -> None:
    pace = Pace(1.5, 4096)
    pace.finished(0, True)
    run(pace, timer, 50, 0, decode=0.02, token=0)
    run(pace, timer, 50, 64, decode=0.02, token=0.0001)
    # 1.5 steps of 20 ms at 0.1 ms a token; chunks may be rounded.
    assert 150 <= pace.budget(True) <= 512


def test_a_slow_device_still_gets_prompts_through(timer: Timer) -> None:
    pace = Pace(1.5, 4096)
    pace.finished(0, True)
    run(pace, timer, 20, 0, decode=0.001, token=0)
    run(pace, timer, 20, 64, decode=0.001, token=1.0)
    assert pace.budget(True) >= 32


def test_idle_time_is_nobodys(timer: Timer) -> None:
    pace = Pace(1.5, 4096)
    pace.finished(0, True)
    run(pace, timer, 50, 0, decode=0.02, token=0)
    before = pace.decode_seconds
    pace.idle()
    timer.now += 3600
    pace.finished(0, True)
    assert pace.decode_seconds == before
