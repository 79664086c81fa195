"""The tests on the double in C take every branch of the C part (capi/src less python_*.c)."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Run, cmake
from .test_native import FUNCTIONS

PROGRAMS = (*FUNCTIONS, "parts", "allocation", "faults")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs gcc, and a linker with --wrap"),
    pytest.mark.skipif(shutil.which("gcov") is None, reason="needs gcov"),
    pytest.mark.skipif(importlib.util.find_spec("gcovr") is None, reason="needs gcovr"),
]


def branches_not_taken(objects: Path) -> tuple[list[str], int]:
    """Where a branch was not taken, as "call.c:12", and how many branches there are."""
    done = subprocess.run(
        [sys.executable, "-m", "gcovr", "--root", str(ROOT), "--filter", f"{ROOT}/capi/src/"]
        + ["--json", "-", str(objects)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    branches = [
        (f"{Path(file['file']).name}:{line['line_number']}", branch["count"])
        for file in json.loads(done.stdout)["files"]
        for line in file["lines"]
        for branch in line["branches"]
    ]
    return [place for place, count in branches if count == 0], len(branches)


def test_every_branch_is_taken(build: Path, run: Run) -> None:
    objects = build / "tests" / "CMakeFiles" / "core_coverage.dir"
    if not objects.exists():
        pytest.skip("not configured for gcc")
    cmake("--build", build, "--parallel", "2", "--target", "coverage")
    for counts in objects.rglob("*.gcda"):
        counts.unlink()
    for program in PROGRAMS:
        done = run(f"{program}_coverage", timeout=200)
        assert done.returncode == 0, done.stderr
    not_taken, number = branches_not_taken(objects)
    assert number > 700 and not_taken == []
