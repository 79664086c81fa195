"""Runs cases through runners and prints the matrix: cases by languages and doors."""

from __future__ import annotations

import asyncio
import secrets
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
    salt = secrets.token_hex(8)
    for number, step in enumerate(case.steps):
        where = f"step {step.id or number}: " if len(case.steps) > 1 else ""
        try:
            requests = _resolved(list(step.requests), earlier, salt)
            outcome = await runner.call(step, requests)
        except Exception as error:
            return [f"{where}{error!r}"]
        if found := mismatches(step, outcome, earlier):
            return [where + each for each in found]
        earlier[step.id] = outcome
    return []


def _resolved(value: Any, earlier: dict[str, Outcome], salt: str) -> Any:
    """The value with what its ``$`` objects stand for; see README.md."""
    if isinstance(value, list):
        return [_resolved(item, earlier, salt) for item in value]
    match value:
        case {"$ref": path}:
            step_id, _, path = path.partition(".")
            return value_at(earlier[step_id].answer, path)
        case {"$repeat": [text, times]}:
            return text * times
        case {"$salt": name}:
            return f"{salt}-{name}"
        case dict():
            return {key: _resolved(item, earlier, salt) for key, item in value.items()}
    return value


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
