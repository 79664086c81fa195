"""Ten times as many streams as there is room for: how soon the others are turned away."""

from __future__ import annotations

import asyncio

from ..faults.live import Usage, connected, model_folder, request, serving, stream
from . import ghz
from .report import Report, quantile

RUNNING, WAITING = 32, 32
TIMES = 10
CALLS = 50_000
REJECT_SECONDS = 0.05


def run(scale: float) -> Report:
    return asyncio.run(_run(max(2_000, round(CALLS * scale))))


async def _run(calls: int) -> Report:
    settings = (
        f"engine.max_running_requests={RUNNING}",
        f"engine.max_waiting_requests={WAITING}",
    )
    message = {"prompt": "Once upon a time", "maxTokens": 200, "ignoreEos": True,
               "samplingParams": {"temperature": 0}}  # fmt: skip
    at_once = TIMES * (RUNNING + WAITING)
    with model_folder() as folder:
        async with (
            serving([f"one={folder}"], *settings) as server,
            connected(server.address) as stubs,
        ):
            alone = await stream(stubs, request(tokens=100))
            before = Usage.of(server.pid)
            seen = await ghz.run(
                server.address, message, at_once=at_once, requests=calls, connections=20
            )
            again = await stream(stubs, request(tokens=100))
            after = Usage.of(server.pid)
    codes = seen["statusCodeDistribution"]
    refused = ghz.latencies(seen, "ResourceExhausted")
    report = Report([
        {"at once": at_once, "room": RUNNING + WAITING, "calls": seen["count"],
         "OK": codes.get("OK", 0), "refused": len(refused), "refused/s": seen["rps"],
         "refused median s": quantile(refused, 0.5), "p99 s": quantile(refused, 0.99)}
    ])  # fmt: skip
    report.equal("calls ended", seen["count"], calls)
    report.equal("other codes", seen["count"] - codes.get("OK", 0) - len(refused), 0)
    report.at_least("refused", len(refused), calls / 2)
    report.at_most("refused, p99, s", quantile(refused, 0.99), REJECT_SECONDS)
    report.equal("the same answer after", float(again.tokens == alone.tokens), 1)
    report.details = {"codes": codes, "rss_bytes": [before.rss_bytes, after.rss_bytes]}
    return report
