"""The C part alone, on a double in C: under sanitizers, and with allocations that fail."""

from __future__ import annotations

import json

import pytest

from .conftest import Run


@pytest.mark.parametrize("program", ["unit_asan", "unit_tsan", "parts_asan"])
def test_functions(run: Run, program: str) -> None:
    done = run(program)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


@pytest.mark.parametrize("sanitizer", ["asan", "tsan"])
def test_64_threads(run: Run, sanitizer: str) -> None:
    done = run(f"stress_{sanitizer}", "{}", "64", "20", "3", "1")
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["ended"] for r in rounds] == [64 * 20] * 3
    assert all(r["cancelled"] > 100 and r["messages"] > 1000 for r in rounds)


def test_every_allocation_can_fail(run: Run) -> None:
    done = run("allocation")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 40
