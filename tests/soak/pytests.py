"""Tests of the suite at full size, where an environment variable makes them larger."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from .report import Report

ROOT = Path(__file__).resolve().parents[2]


def run_tests(test: str, variable: str, size: int) -> Report:
    """Run ``test`` with ``variable`` set to ``size``."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=14400", test],
        env={**os.environ, "MLXFORGE_SOAK": "1", variable: str(size)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    tests = int(passed[1]) if passed else 0
    report = Report([{"test": test, variable: size, "tests passed": tests}])
    report.equal("exit code", done.returncode, 0)
    report.at_least("tests passed", tests, 1)
    report.details["output"] = done.stdout[-5000:]
    return report
