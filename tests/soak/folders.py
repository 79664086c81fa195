"""1,000 model folders with bytes and values changed at random."""

from __future__ import annotations

from .pytests import run_tests
from .report import Report

FOLDERS = 1_000


def run(scale: float) -> Report:
    """``python -m tests.faults.folders N N+1`` replays one."""
    test = "tests/faults/test_files.py::test_row_25_damaged_folders_load_or_are_refused"
    return run_tests(test, "MLXFORGE_DAMAGED_FOLDERS", max(25, round(FOLDERS * scale)))
