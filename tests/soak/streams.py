"""1,000 streams at once from ghz, beside streams whose every token is looked at."""

from __future__ import annotations

import asyncio

from ..faults.live import SMALL, Usage, connected, model_folder, request, serving, stream
from . import ghz
from .load import Load
from .report import Report, quantile

AT_ONCE = 1_000
ROUNDS = 5
TOKENS = 32


def run(scale: float) -> Report:
    return asyncio.run(_run(max(20, round(AT_ONCE * scale))))


async def _run(at_once: int) -> Report:
    total = at_once * ROUNDS
    settings = (*SMALL[1:], "engine.max_running_requests=128", "engine.max_waiting_requests=2000")
    message = {"prompt": "Once upon a time", "maxTokens": TOKENS, "ignoreEos": True,
               "samplingParams": {"temperature": 0}}  # fmt: skip
    with model_folder() as folder:
        async with (
            serving([f"one={folder}"], *settings) as server,
            connected(server.address) as stubs,
        ):
            beside = Load(stubs, "one", 4, 64)
            await beside.begin()
            before = Usage.of(server.pid)
            seen = await ghz.run(
                server.address, message, at_once=at_once, requests=total, connections=10
            )
            await beside.end()
            await asyncio.sleep(1)
            after = Usage.of(server.pid)
            assert (await stream(stubs, request(tokens=8))).whole
    codes = seen["statusCodeDistribution"]
    taken = ghz.latencies(seen, "OK")
    report = Report([
        {"streams at once": at_once, "calls": seen["count"], "OK": codes.get("OK", 0),
         "calls/s": seen["rps"], "tokens/s": seen["rps"] * TOKENS,
         "median s": quantile(taken, 0.5), "p99 s": quantile(taken, 0.99)}
    ])  # fmt: skip
    report.equal("calls", seen["count"], total)
    report.equal("calls not OK", seen["count"] - codes.get("OK", 0), 0)
    report.equal("beside: ended", beside.ended, beside.started)
    report.equal("beside: not OK", beside.ended - beside.counts["OK"], 0)
    report.equal("beside: wrong", len(beside.faults), 0)
    report.at_most("descriptors left over", after.fds - before.fds, 20)
    report.details = {
        "codes": codes, "faults": beside.faults[:50], "rss_bytes": [before.rss_bytes,
        after.rss_bytes], "threads": [before.threads, after.threads],
    }  # fmt: skip
    return report
