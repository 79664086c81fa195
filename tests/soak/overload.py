"""Ten times as many requests as can be served: how soon those beyond are turned away.

Requests come at a rate, whether the last ones were answered or not, as from many users. It is
ten times what the server finished per second when as many as can run did.
"""

from __future__ import annotations

import asyncio

from ..faults.live import Usage, connected, model_folder, request, serving, stream
from . import ghz
from .report import Report, quantile

RUNNING, WAITING = 32, 32
TIMES = 10
SECONDS = 120
REJECT_SECONDS = 0.05


def run(scale: float) -> Report:
    return asyncio.run(_run(max(5.0, SECONDS * scale)))


async def _run(seconds: float) -> Report:
    settings = (
        f"engine.max_running_requests={RUNNING}",
        f"engine.max_waiting_requests={WAITING}",
    )
    message = {"prompt": "Once upon a time", "maxTokens": 200, "ignoreEos": True,
               "samplingParams": {"temperature": 0}}  # fmt: skip
    with model_folder() as folder:
        async with (
            serving([f"one={folder}"], *settings) as server,
            connected(server.address) as stubs,
        ):
            alone = await stream(stubs, request(tokens=100))
            before = Usage.of(server.pid)
            full = await ghz.run(
                server.address, message, at_once=RUNNING, requests=3 * RUNNING, connections=4
            )
            rate = TIMES * full["rps"]
            calls = round(rate * seconds)
            seen = await ghz.run(
                server.address, message, at_once=1_000, requests=calls, connections=20, rate=rate
            )
            again = await stream(stubs, request(tokens=100))
            after = Usage.of(server.pid)
    codes = seen["statusCodeDistribution"]
    refused = ghz.latencies(seen, "ResourceExhausted")
    report = Report([
        {"served/s": full["rps"], "asked/s": rate, "calls": seen["count"],
         "OK": codes.get("OK", 0), "refused": len(refused),
         "refused median s": quantile(refused, 0.5), "p99 s": quantile(refused, 0.99)}
    ])  # fmt: skip
    report.equal("calls ended", seen["count"], calls)
    report.equal("other codes", seen["count"] - codes.get("OK", 0) - len(refused), 0)
    report.at_least("refused", len(refused), calls / 2)
    report.at_most("refused, p99, s", quantile(refused, 0.99), REJECT_SECONDS)
    report.equal("the same answer after", float(again.tokens == alone.tokens), 1)
    report.details = {"codes": codes, "rss_bytes": [before.rss_bytes, after.rss_bytes]}
    return report
