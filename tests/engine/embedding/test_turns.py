"""Sizes of embedding batches beside streams, with a virtual clock and devices that are sums."""

from __future__ import annotations

import statistics
from collections import deque
from types import SimpleNamespace

import pytest

from mlxforge.engine.embedding import turns as module
from mlxforge.engine.embedding.turns import EmbeddingTurns

STEP = 0.1  # seconds of a decode step


class Device:
    """A core that decodes and a scheduler that embeds inputs of ``length`` tokens.

    A batch takes ``fixed`` seconds and ``each`` per token; it is read one turn after its start.
    """

    def __init__(self, *, fixed: float, each: float, length: int = 10) -> None:
        self.now = 0.0
        self.fixed, self.each, self.length = fixed, each, length
        self.core = SimpleNamespace(
            groups={"r": object()}, pace=SimpleNamespace(decode_seconds=STEP, idle=lambda: None)
        )
        self.busy = True
        self.policy = SimpleNamespace(max_tokens=512)
        self.tokens_read = 0
        self.sizes: list[int] = []
        self._flights: deque[int] = deque()
        self.turns = EmbeddingTurns(self, self.core)  # type: ignore[arg-type]  # stand-ins

    def perf_counter(self) -> float:
        return self.now

    def step(self, token_budget: int | None = None) -> bool:
        waiting = len(self._flights)
        size = 0
        if token_budget != 0:
            budget = min(token_budget or self.policy.max_tokens, self.policy.max_tokens)
            size = max(1, budget // self.length) * self.length
            self._flights.append(size)
            self.now += self.fixed + self.each * size
        self.sizes.append(size)
        self.tokens_read = self._flights.popleft() if waiting else 0
        return True

    def gaps(self, count: int) -> list[float]:
        """Seconds between tokens over so many turns."""
        found = []
        for _ in range(count):
            before = self.now
            self.now += STEP
            self.turns.step()
            found.append(self.now - before)
        return found


@pytest.fixture
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device(**request.param)
    monkeypatch.setattr(module, "time", made)
    return made


def p99(gaps: list[float]) -> float:
    return statistics.quantiles(gaps, n=100)[-1]


@pytest.mark.parametrize("device", [{"fixed": 0.04, "each": 0.002}], indirect=True)
def test_batches_grow_until_the_gap_is_nearly_twice(device: Device) -> None:
    device.gaps(100)
    gaps = device.gaps(2000)
    assert p99(gaps) <= 2 * STEP
    assert statistics.mean(device.sizes[100:]) >= 15  # of the 25 that would just fit


@pytest.mark.parametrize("device", [{"fixed": 0.06, "each": 0.000001}], indirect=True)
def test_where_tokens_cost_nothing_batches_get_as_large_as_without_streams(device: Device) -> None:
    device.gaps(300)
    assert max(device.sizes) == 510
    assert p99(device.gaps(1000)) <= 2 * STEP


@pytest.mark.parametrize("device", [{"fixed": 0.0, "each": 0.002, "length": 500}], indirect=True)
def test_long_inputs_leave_out_turns(device: Device) -> None:
    """Ten steps' time each: on average a step takes no longer than twice, and they get through."""
    gaps = device.gaps(1000)
    assert statistics.mean(gaps) <= 2 * STEP
    assert sum(map(bool, device.sizes)) >= 60


@pytest.mark.parametrize("device", [{"fixed": 0.098, "each": 0.0, "length": 10}], indirect=True)
def test_an_input_that_takes_a_step_goes_nearly_every_turn(device: Device) -> None:
    """As of a small model on a CPU: leaving out turns would not make the longest gap shorter."""
    gaps = device.gaps(1000)
    assert p99(gaps) <= 2 * STEP
    assert sum(map(bool, device.sizes)) >= 800


@pytest.mark.parametrize("device", [{"fixed": 0.04, "each": 0.002}], indirect=True)
def test_more_rows_and_fewer_are_followed(device: Device) -> None:
    device.gaps(500)
    device.core.pace.decode_seconds = 0.02  # the step of fewer rows
    before = len(device.sizes)
    device.gaps(200)
    assert set(device.sizes[before + 100 :]) <= {0, 10}


@pytest.mark.parametrize("device", [{"fixed": 0.04, "each": 0.002}], indirect=True)
def test_without_requests_batches_are_whole(device: Device) -> None:
    device.core.groups.clear()
    device.gaps(3)
    assert device.sizes == [510, 510, 510]
