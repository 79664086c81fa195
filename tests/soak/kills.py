"""Worker processes killed under load, 200 of them: who notices, and how soon it is back."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
from dataclasses import dataclass, field

from grpc_health.v1 import health_pb2
from rich.progress import track

from ..faults.live import SERVING, SMALL, Stubs, connected, model_folder, serving, worker_of
from .load import PATIENCE, Load
from .report import Report, quantile

KILLS = 200
DETECT_SECONDS = 0.1
BACK_SECONDS = 2.0
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)


class Watcher:
    """Follows a model's health as a client does; remembers when it changed."""

    def __init__(self, stubs: Stubs, service: str) -> None:
        self.state = False
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._watch(stubs, service))

    async def _watch(self, stubs: Stubs, service: str) -> None:
        call = stubs.health.Watch(health_pb2.HealthCheckRequest(service=service))
        async for response in call:
            self.state = response.status == SERVING
            self._changed.set()
            self._changed = asyncio.Event()

    async def until(self, state: bool, seconds: float) -> float:
        """``time.monotonic`` of the moment at which it says so. Raises ``TimeoutError``."""
        async with asyncio.timeout(seconds):
            while self.state is not state:
                await self._changed.wait()
        return time.monotonic()

    def stop(self) -> None:
        self._task.cancel()


def run(scale: float) -> Report:
    return asyncio.run(_run(max(2, round(KILLS * scale))))


@dataclass
class Times:
    """Seconds from each kill on."""

    detected: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)


async def _run(kills: int) -> Report:
    times = Times()
    with model_folder() as folder:
        models = [f"one={folder}", f"two={folder}"]
        async with (
            serving(models, *SMALL) as server,
            connected(server.address) as stubs,
            connected(server.address) as watching,
        ):
            other = worker_of(server.pid, "two")
            victim, neighbour = Load(stubs, "one", 8, 400), Load(stubs, "two", 6, 400)
            await victim.begin()
            await neighbour.begin()
            watcher = Watcher(watching, "model/one")
            try:
                for number in track(range(kills), f"{kills} kills"):
                    await _kill(server.pid, number, victim, watcher, times)
            except TimeoutError:
                print(f"it does not come back:\n{server.logged()[-2000:]}", flush=True)
            await victim.end()
            await neighbour.end()
            watcher.stop()
            same = server.process.returncode is None and worker_of(server.pid, "two") == other
            loads = [float(s) for s in re.findall(r"serves after ([\d.]+) s", server.logged())]
    return _report(kills, times, loads, victim, neighbour, same)


async def _kill(front: int, number: int, victim: Load, watcher: Watcher, times: Times) -> None:
    """Kill model one's worker once. Raises ``TimeoutError`` when it does not come back."""
    dice = random.Random(number)
    await watcher.until(True, PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while victim.running < 4:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)
    await asyncio.sleep(dice.random() * 0.3)
    started = time.monotonic()
    os.kill(worker_of(front, "one"), dice.choice(_SIGNALS))
    times.detected.append(await watcher.until(False, PATIENCE) - started)
    async with asyncio.timeout(PATIENCE):
        while victim.running:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.005)
    times.ended.append(time.monotonic() - started)
    times.back.append(await watcher.until(True, PATIENCE) - started)
    if number % 10 == 9:
        print(f"{number + 1} kills", flush=True)


def _report(
    kills: int, times: Times, loads: list[float], victim: Load, neighbour: Load, same: bool
) -> Report:
    report = Report()
    for name, values in (("detected", times.detected), ("streams ended", times.ended),
                         ("back", times.back),
                         ("of it load", loads)):  # fmt: skip
        report.rows.append(
            {"seconds": name, "n": len(values), "median": quantile(values, 0.5),
             "p99": quantile(values, 0.99), "most": max(values, default=0.0)}
        )  # fmt: skip
    over = [b - load for b, load in zip(times.back, loads, strict=False)]
    report.equal("kills", len(times.back), kills)
    report.equal("restarts logged", len(loads), kills)
    report.at_most("detected, p99, s", quantile(times.detected, 0.99), DETECT_SECONDS)
    report.at_most("back beyond the load, most, s", max(over, default=0.0), BACK_SECONDS)
    report.equal("front and neighbour restarted", float(not same), 0)
    for load in (victim, neighbour):
        report.equal(f"{load.model}: ended, of {load.started}", load.ended, load.started)
        report.equal(f"{load.model}: hung", load.counts["hung"], 0)
        report.equal(f"{load.model}: wrong", len(load.faults), 0)
    allowed = {"OK", "UNAVAILABLE begun", "UNAVAILABLE refused"}
    report.equal("one: other codes", len(set(victim.counts) - allowed), 0)
    report.equal("two: lost", neighbour.ended - neighbour.counts["OK"], 0)
    report.details = {
        "counts": {load.model: dict(load.counts) for load in (victim, neighbour)},
        "faults": (victim.faults + neighbour.faults)[:50],
        "detected_s": times.detected, "ended_s": times.ended, "back_s": times.back, "load_s": loads,
    }  # fmt: skip
    return report
