"""A server under mixed load for 20 minutes: memory, descriptors and threads stay where they are.

The same check is made of a server with a planted leak, which it must catch.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from mlxforge.v1 import tokenizer_pb2

from ..faults.live import SMALL, Request, Stubs, Usage, connected, model_folder, request, serving
from .load import Load
from .report import Report

SECONDS = 1_200.0
CONTROL_SECONDS = 60.0
"""For the server with the leak at most: it shows sooner than that there is none."""
SCHEMAS = 10_000
"""Compiled before the clock starts, at full size: the cache of grammars, and what the allocator
keeps for it, grow until some such number was seen (by 40 MB) and not beyond."""
GROWTH_BYTES = 16 * 2**20
GROWTH_COUNT = 8
"""Descriptors and threads come and go with connections and helpers."""


@dataclass(frozen=True)
class Sample:
    """What the server and its workers held at a moment."""

    seconds: float
    usage: Usage


def run(scale: float) -> Report:
    return asyncio.run(_run(max(8.0, SECONDS * scale)))


async def _run(seconds: float) -> Report:
    report = Report()
    with model_folder() as folder:
        for name, module, limit in (
            ("server", "mlxforge.service.cli", seconds),
            ("with a leak", "tests.soak.leaky", CONTROL_SECONDS),
        ):
            samples, load = await _watched(folder, module, min(seconds, limit))
            grown = growth(samples)
            report.rows.append(
                {"": name, "seconds": samples[-1].seconds, "streams": load.ended,
                 "RSS MB": samples[-1].usage.rss_bytes / 1e6, "RSS growth MB": grown[0] / 1e6,
                 "fds growth": grown[1], "threads growth": grown[2]}
            )  # fmt: skip
            report.details[name] = {
                "counts": dict(load.counts), "faults": load.faults[:50],
                "samples": [[s.seconds, s.usage.rss_bytes, s.usage.fds, s.usage.threads]
                            for s in samples],
            }  # fmt: skip
            if name == "server":
                report.at_most("RSS growth over the last half, MB", grown[0] / 1e6,
                               GROWTH_BYTES / 1e6)  # fmt: skip
                report.at_most("descriptors", grown[1], GROWTH_COUNT)
                report.at_most("threads", grown[2], GROWTH_COUNT)
                report.equal("streams not ended", load.started - load.ended, 0)
                report.equal("streams not OK", load.ended - load.counts["OK"], 0)
                report.equal("wrong", len(load.faults), 0)
            else:
                report.equal("the leak is noticed: RSS", float(grown[0] > GROWTH_BYTES), 1)
                report.equal("the leak is noticed: descriptors", float(grown[1] > GROWTH_COUNT), 1)
                report.equal("the leak is noticed: threads", float(grown[2] > GROWTH_COUNT), 1)
    return report


def growth(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """By how much RSS, descriptors and threads grew over the last half, by its trend."""
    half = [s for s in samples if s.seconds >= samples[-1].seconds / 2]
    times = [s.seconds for s in half]
    span = times[-1] - times[0]
    return (
        slope(times, [s.usage.rss_bytes for s in half]) * span,
        slope(times, [s.usage.fds for s in half]) * span,
        slope(times, [s.usage.threads for s in half]) * span,
    )


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the line with the least squared distance to the points."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / (spread or 1.0)


async def _watched(folder: Path, module: str, seconds: float) -> tuple[list[Sample], Load]:
    """Samples of a server under load; some callers cancel, err, or come and go."""
    samples: list[Sample] = []
    async with (
        serving([f"one={folder}"], *SMALL, module=module) as server,
        connected(server.address) as stubs,
    ):
        await _fill_caches(stubs, round(SCHEMAS * min(1.0, seconds / SECONDS)))
        load = Load(stubs, "one", 6, 64)
        await load.begin()
        others = asyncio.create_task(_others(server.address, stubs))
        started = time.monotonic()
        while (now := time.monotonic() - started) < seconds:
            samples.append(Sample(now, Usage.of(server.pid)))
            await asyncio.sleep(min(5.0, seconds / 40))
        others.cancel()
        await asyncio.gather(others, return_exceptions=True)
        await load.end()
    return samples, load


async def _fill_caches(stubs: Stubs, schemas: int) -> None:
    numbers = iter(range(schemas))

    async def one_after_the_other() -> None:
        for number in numbers:
            unseen = f'{{"const": "before {number}"}}'
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stubs.generation.Generate(
                    request(tokens=8, json_schema=unseen, ignore_eos=False)
                )

    await asyncio.gather(*(one_after_the_other() for _ in range(8)))


async def _others(address: str, stubs: Stubs) -> None:
    """One after the other: a cancel, a bad request, a schema nobody asked for, a connection."""
    dice = random.Random(2)
    while True:
        call = stubs.generation.StreamGenerate(request(tokens=200))
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call.read()
        call.cancel()
        unseen = f'{{"const": "number {dice.random()}"}}'
        for asked in (_bad(dice), request(tokens=8, json_schema=unseen, ignore_eos=False)):
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stubs.generation.Generate(asked)
        async with connected(address) as fresh:
            await fresh.tokenizer.Tokenize(tokenizer_pb2.TokenizeRequest(text="Once"))


def _bad(dice: random.Random) -> Request:
    wrong: list[dict[str, Any]] = [{"n": 1000}, {"stop": ["x"] * 100}, {"model": "nope"}]
    return request(**dice.choice(wrong))
