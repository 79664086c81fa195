"""Servers told to end under load, 500 of them: what runs is finished, what comes is refused."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import track

from ..faults.live import (
    CODE,
    SMALL,
    Outcome,
    Stubs,
    connected,
    exit_code,
    model_folder,
    request,
    serving,
    stream,
)
from .report import Report, quantile

DRAINS = 500
STREAMS = 8
_EXIT_SECONDS = 60.0


@dataclass
class Seen:
    """What all drains together showed."""

    codes: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    at_once: list[float] = field(default_factory=list)


def run(scale: float) -> Report:
    return asyncio.run(_run(max(2, round(DRAINS * scale))))


async def _run(drains: int) -> Report:
    seen = Seen()
    with model_folder() as folder:
        whole = await _alone(folder)
        numbers = iter(track(range(drains), f"{drains} drains"))

        async def one_after_the_other() -> None:
            for number in numbers:
                await _drain(folder, number, whole, seen)

        await asyncio.gather(*(one_after_the_other() for _ in range(os.cpu_count() or 1)))
    report = Report([
        {"drains": drains, "in-flight finished": seen.codes["in-flight OK"],
         "refused": seen.codes["new UNAVAILABLE"], "answered late": seen.codes["new OK"],
         "drain median s": quantile(seen.seconds, 0.5), "most s": max(seen.seconds, default=0.0),
         "second signal, most s": max(seen.at_once, default=0.0)}
    ])  # fmt: skip
    report.equal("exits with 0", seen.exits[0], drains)
    report.equal("in-flight streams lost", len(seen.lost), 0)
    report.equal("wrong answers or codes", len(seen.wrong), 0)
    report.at_most("second signal to exit, most, s", max(seen.at_once, default=0.0), 5.0)
    report.details = {
        "codes": dict(seen.codes), "exits": {str(k): v for k, v in seen.exits.items()},
        "lost": seen.lost[:50], "wrong": seen.wrong[:50],
    }  # fmt: skip
    return report


async def _alone(folder: Path) -> list[int]:
    async with serving([f"one={folder}"], *SMALL) as server, connected(server.address) as stubs:
        return (await stream(stubs, request(tokens=600))).tokens


async def _drain(folder: Path, number: int, whole: list[int], seen: Seen) -> None:
    """One server's end: a tenth of them by two signals, which end its streams."""
    dice = random.Random(number)
    twice = number % 10 == 9
    async with (
        serving([f"one={folder}"], *SMALL, "engine.warm_up=false") as server,
        connected(server.address) as stubs,
    ):
        lengths = [dice.randint(50, 600) for _ in range(STREAMS)]
        firsts = [asyncio.Event() for _ in lengths]
        running = [
            asyncio.create_task(stream(stubs, request(tokens=n), first))
            for n, first in zip(lengths, firsts, strict=True)
        ]
        await asyncio.wait_for(asyncio.gather(*(first.wait() for first in firsts)), 60)
        await asyncio.sleep(dice.random() * 0.1)
        told = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        late = asyncio.create_task(_latecomers(stubs))
        if twice:
            await asyncio.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
        seen.exits[await exit_code(server, _EXIT_SECONDS)] += 1
        (seen.at_once if twice else seen.seconds).append(time.monotonic() - told)
        for outcome, tokens in zip(await asyncio.gather(*running), lengths, strict=True):
            _judge(outcome, tokens, whole, twice, f"drain {number}", seen)
        for outcome in await late:
            seen.codes[f"new {outcome.code.name}"] += 1
            if outcome.code not in (CODE.OK, CODE.UNAVAILABLE):
                seen.wrong.append(f"drain {number}: new {outcome.code.name} {outcome.details}")


def _judge(
    outcome: Outcome, tokens: int, whole: list[int], twice: bool, where: str, seen: Seen
) -> None:
    seen.codes[f"in-flight {outcome.code.name}"] += 1
    if outcome.tokens != whole[: len(outcome.tokens)]:
        seen.wrong.append(f"{where}: other tokens than alone")
    if outcome.whole and len(outcome.tokens) == tokens:
        return
    if not (twice and outcome.code is CODE.UNAVAILABLE):
        seen.lost.append(f"{where}: {outcome.code.name} after {len(outcome.tokens)}")


async def _latecomers(stubs: Stubs) -> list[Outcome]:
    """Requests that come while it drains."""
    outcomes = []
    for _ in range(5):
        await asyncio.sleep(0.02)
        outcomes.append(await stream(stubs, request(tokens=4)))
    return outcomes
