"""Which runner meets which engine, and in what order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from .cases import ENGINES, Case
from .environment import DEFAULT_MODELS, GUARDED, Language, Missing, embedded_environment, server
from .runner import Runner, RunnerError
from .suite import Results, run_cases

CONFIG = json.dumps({"model": DEFAULT_MODELS})
"""Of embedded engines; the scripted ones take no notice."""


@dataclass(frozen=True)
class Column:
    """One column of the matrix."""

    language: Language
    door: str

    @property
    def title(self) -> str:
        """As ``node/grpc``."""
        return f"{self.language.name}/{self.door}"


async def run_columns(
    columns: Sequence[Column], cases: Sequence[Case]
) -> dict[str, Results | Missing]:
    """What came of all cases in all columns. Runners over gRPC share one server of each kind."""
    results: dict[str, Results | Missing] = {column.title: {} for column in columns}
    for engine in ENGINES:
        chosen = [case for case in cases if case.engine == engine]
        if not chosen:
            continue
        remote = [column for column in columns if column.door == "grpc"]
        if remote:
            await _over_grpc(engine, remote, chosen, results)
        # One after the other: each process holds a whole engine.
        for column in columns:
            if column.door == "embedded" and engine != GUARDED:
                await _run(column, engine, chosen, results)
    return results


async def _over_grpc(
    engine: str,
    columns: Sequence[Column],
    cases: Sequence[Case],
    results: dict[str, Results | Missing],
) -> None:
    try:
        async with server(engine) as address:
            await asyncio.gather(
                *(_run(column, engine, cases, results, address) for column in columns)
            )
    except Missing as missing:
        results.update({column.title: missing for column in columns})


async def _run(
    column: Column,
    engine: str,
    cases: Sequence[Case],
    results: dict[str, Results | Missing],
    address: str = "",
) -> None:
    so_far = results[column.title]
    if isinstance(so_far, Missing):
        return
    try:
        command = await asyncio.to_thread(column.language.build, engine)
        variables = embedded_environment(engine) if column.door == "embedded" else {}
    except Missing as missing:
        results[column.title] = missing
        return
    argument = address if column.door == "grpc" else CONFIG
    try:
        async with Runner([*command, column.door, argument], variables) as runner:
            so_far.update(await run_cases(runner, column.language.name, cases))
    except RunnerError as error:
        for case in cases:
            so_far.setdefault(case.name, [str(error)])
