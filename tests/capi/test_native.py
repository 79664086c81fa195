"""The C part alone, on a double in C: under sanitizers, and with calls that fail beneath it."""

from __future__ import annotations

import json
import re
import sys

import pytest

from .conftest import ROOT, Run

FUNCTIONS = ("unit", "misuse", "queues", "helpers", "logging")
# Apple's linker cannot replace system calls.
REPLACES = pytest.mark.skipif(sys.platform == "darwin", reason="needs a linker with --wrap")


@pytest.mark.parametrize("program", FUNCTIONS)
@pytest.mark.parametrize("sanitizer", ["asan", "tsan"])
def test_functions(run: Run, program: str, sanitizer: str) -> None:
    done = run(f"{program}_{sanitizer}", timeout=200)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


@pytest.mark.parametrize("program", ["parts", pytest.param("faults", marks=REPLACES)])
def test_process(run: Run, program: str) -> None:
    done = run(f"{program}_asan")
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


@pytest.mark.parametrize("sanitizer", ["asan", "tsan"])
def test_64_threads(run: Run, sanitizer: str) -> None:
    done = run(f"stress_{sanitizer}", "{}", "64", "20", "3", "1")
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["ended"] for r in rounds] == [64 * 20] * 3
    assert all(r["cancelled"] > 100 and r["messages"] > 1000 for r in rounds)


@REPLACES
def test_every_allocation_can_fail(run: Run) -> None:
    done = run("allocation_plain")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 50


def test_allocations_fail_beneath_every_function() -> None:
    functions = json.loads((ROOT / "capi/abi/baseline.json").read_text("utf-8"))["functions"]
    program = (ROOT / "tests/capi/allocation.c").read_text("utf-8")
    assert len(functions) >= 22
    assert functions.keys() <= set(re.findall(r"mlxforge_\w+(?=\()", program))
