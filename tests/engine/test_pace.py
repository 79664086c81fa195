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
    pace: Pace,
    timer: Timer,
    steps: int,
    prefilled: int,
    *,
    decode: float,
    token: float,
    chunk: float = 0.0,
) -> None:
    for _ in range(steps):
        timer.now += decode + prefilled * token + (chunk if prefilled else 0.0)
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


def test_what_a_chunk_costs_by_itself_is_not_taken_for_its_tokens(timer: Timer) -> None:
    """Else short chunks, dear by the token, would keep chunks short."""
    pace = Pace(1.5, 4096)
    pace.finished(0, True)
    run(pace, timer, 20, 0, decode=0.02, token=0)
    for prefilled in (64, 128, 64):
        run(pace, timer, 1, prefilled, decode=0.02, token=0.00001, chunk=0.01)
    assert list(pace.chunk_time.line) == pytest.approx([0.01, 0.00001])
    assert pace.budget(True) == pytest.approx(2000, rel=0.01)


def test_chunks_of_one_length_do_not_keep_it(timer: Timer) -> None:
    pace = Pace(1.5, 4096)
    pace.finished(0, True)
    run(pace, timer, 20, 0, decode=0.02, token=0)
    run(pace, timer, 30, 64, decode=0.02, token=0.00001, chunk=0.01)
    sizes = []
    for _ in range(10):
        sizes.append(pace.budget(True))
        run(pace, timer, 1, sizes[-1], decode=0.02, token=0.00001, chunk=0.01)
    assert sizes[0] > 64 and 1500 < sizes[-1] < 2500


def test_streams_spare_a_hundredth_of_a_second(timer: Timer) -> None:
    pace = Pace(1.5, 4096)
    pace.finished(0, True)
    run(pace, timer, 20, 0, decode=0.001, token=0)
    for prefilled in (64, 128, 256):
        run(pace, timer, 1, prefilled, decode=0.001, token=0.00001)
    assert 900 <= pace.budget(True) <= 1100


def test_a_chunk_that_was_slow_once_is_forgotten(timer: Timer) -> None:
    pace = Pace(1.5, 4096)
    pace.finished(0, True)
    run(pace, timer, 20, 0, decode=0.02, token=0)
    for prefilled in (64, 128, 256, 200):
        run(pace, timer, 1, prefilled, decode=0.02, token=0.0001)
    run(pace, timer, 1, 128, decode=0.02, token=0.0001, chunk=1.0)
    assert pace.budget(True) > 32
    for prefilled in (64, 128, 256, 200) * 5:
        run(pace, timer, 1, prefilled, decode=0.02, token=0.0001)
    assert 250 <= pace.budget(True) <= 350


def test_idle_time_is_nobodys(timer: Timer) -> None:
    pace = Pace(1.5, 4096)
    pace.finished(0, True)
    run(pace, timer, 50, 0, decode=0.02, token=0)
    before = pace.decode_seconds
    pace.idle()
    timer.now += 3600
    pace.finished(0, True)
    assert pace.decode_seconds == before
