"""The conformance suite in pytest: one test a column of the matrix."""

from __future__ import annotations

import asyncio
import sys

import pytest

from .cases import METHODS, read_cases
from .environment import LANGUAGES, Missing
from .plan import Column, run_columns
from .suite import Results, matrix

CASES = read_cases()
COLUMNS = [Column(language, door) for language in LANGUAGES for door in language.doors]


def test_cases_cover_the_schema() -> None:
    steps = [step for case in CASES for step in case.steps]
    assert len(CASES) >= 80
    assert {step.rpc for step in steps} >= METHODS.keys()
    codes = "OK CANCELLED INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND RESOURCE_EXHAUSTED"
    codes += " FAILED_PRECONDITION INTERNAL PERMISSION_DENIED UNAVAILABLE"
    assert {step.expect.get("code", "OK") for step in steps} >= set(codes.split())


@pytest.fixture(scope="module")
def results() -> dict[str, Results | Missing]:
    """What came of all cases in all columns. The matrix is printed whatever pytest captures."""
    found = asyncio.run(run_columns(COLUMNS, CASES))
    shown = [(title, each) for title, each in found.items() if not isinstance(each, Missing)]
    print("\n" + matrix(shown, CASES), file=sys.__stdout__, flush=True)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.title)
def test_column(column: Column, results: dict[str, Results | Missing]) -> None:
    """All cases pass for one language through one door."""
    found = results[column.title]
    if isinstance(found, Missing):
        pytest.skip(str(found))
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
