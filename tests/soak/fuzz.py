"""10,000 requests made at random from the schema's descriptors, by the service's own fuzz test."""

from __future__ import annotations

from .pytests import run_tests
from .report import Report

REQUESTS = 10_000


def run(scale: float) -> Report:
    size = max(50, round(REQUESTS * scale))
    return run_tests("tests/service/test_fuzz.py", "MLXFORGE_FUZZ_REQUESTS", size)
