"""Runs cases through runners and prints the matrix: cases by languages and doors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from .cases import Case
from .check import mismatches, value_at
from .outcome import Outcome
from .runner import Runner

CONCURRENT_CASES = 12
"""They share the batch, as callers do; it is also much faster."""

Results = dict[str, list[str] | None]
"""Case name to what was wrong; empty: passed; None: not for this runner."""


async def run_cases(runner: Runner, language: str, cases: Iterable[Case]) -> Results:
    """What came of each case."""
    limit = asyncio.Semaphore(CONCURRENT_CASES)

    async def run(case: Case) -> tuple[str, list[str] | None]:
        if case.runners and language not in case.runners:
            return case.name, None
        async with limit:
            return case.name, await _run_case(runner, case)

    return dict(await asyncio.gather(*map(run, cases)))


async def _run_case(runner: Runner, case: Case) -> list[str]:
    earlier: dict[str, Outcome] = {}
    for number, step in enumerate(case.steps):
        where = f"step {step.id or number}: " if len(case.steps) > 1 else ""
        try:
            requests = _resolved(list(step.requests), earlier)
            outcome = await runner.call(step, requests)
        except Exception as error:
            return [f"{where}{error!r}"]
        if found := mismatches(step, outcome, earlier):
            return [where + each for each in found]
        earlier[step.id] = outcome
    return []


def _resolved(value: Any, earlier: dict[str, Outcome]) -> Any:
    """The value with results of earlier steps in place of ``{"$ref": "step.path"}``."""
    if isinstance(value, list):
        return [_resolved(item, earlier) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        step_id, _, path = value["$ref"].partition(".")
        return value_at(earlier[step_id].answer, path)
    return {key: _resolved(item, earlier) for key, item in value.items()}


def matrix(columns: Sequence[tuple[str, Results]], cases: Sequence[Case]) -> str:
    """A table: one row a case, one column a runner; then all that was wrong."""
    width = max(len(case.name) for case in cases)
    lines = [f"{'':{width}}  " + "  ".join(title for title, _ in columns)]
    for case in cases:
        marks = (f"{_mark(results, case):^{len(title)}}" for title, results in columns)
        lines.append(f"{case.name:{width}}  " + "  ".join(marks).rstrip())
    passed = [sum(result == [] for result in results.values()) for _, results in columns]
    totals = (f"{count:^{len(title)}}" for count, (title, _) in zip(passed, columns, strict=True))
    lines.append(f"{f'passed of {len(cases)}':{width}}  " + "  ".join(totals).rstrip())
    for title, results in columns:
        for name, wrong in results.items():
            lines += [f"{title}: {name}: {each}" for each in wrong or ()]
    return "\n".join(lines)


def _mark(results: Results, case: Case) -> str:
    result = results.get(case.name)
    return "-" if result is None else "FAIL" if result else "ok"
