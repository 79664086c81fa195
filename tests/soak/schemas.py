"""10,000 schemas, each another: the cache of compiled grammars keeps within its bytes."""

from __future__ import annotations

from .pytests import run_tests
from .report import Report

SCHEMAS = 10_000


def run(scale: float) -> Report:
    test = "tests/faults/test_schemas.py"
    return run_tests(test, "MLXFORGE_SCHEMAS", max(300, round(SCHEMAS * scale)))
