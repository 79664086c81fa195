"""Random lives of the scheduler by seed, 100,000 of them, over all processors."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from rich.progress import track

from .report import Report, Watch

SEEDS = 100_000
_CHUNK = 500


def run(scale: float) -> Report:
    """A failing seed is named in the JSON; ``python -m tests.faults.lives N N+1`` replays it."""
    seeds = max(20, round(SEEDS * scale))
    processes = os.cpu_count() or 1
    chunk = min(_CHUNK, -(-seeds // processes))
    first = int(os.environ.get("MLXFORGE_FIRST_SEED", "0"))
    ranges = [(a, min(a + chunk, first + seeds)) for a in range(first, first + seeds, chunk)]
    watch = Watch()
    with ThreadPoolExecutor(processes) as pool:
        lives = pool.map(lambda place: _lives(place, *ranges[place]), range(len(ranges)))
        outputs = list(track(lives, f"{seeds} seeds, {chunk} at a time", len(ranges)))
    failures = [line for lines in outputs for line in lines[:-1]]
    finished = sum(int(lines[-1].split()[0]) for lines in outputs if "seeds," in lines[-1])
    rate = seeds / watch.seconds
    report = Report([{"seeds": seeds, "failed": len(failures), "processes": processes,
                      "seeds/s": rate}])  # fmt: skip
    report.equal("seeds run to their end", finished, seeds)
    report.equal("failed seeds", len(failures), 0)
    report.details["failures"] = failures[:100]
    return report


def _lives(place: int, first: int, last: int) -> list[str]:
    command = [sys.executable, "-m", "tests.faults.lives", str(first), str(last)]
    # One processor each, and no thread put before another for having been woken (batch): MLX
    # hands every operation to a thread, and waking it at once takes longer than the operation.
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    pin = ["chrt", "-b", "0", "taskset", "-c", str(cpus[place % len(cpus)])] if cpus else []
    done = subprocess.run([*pin, *command], capture_output=True, text=True)
    lines = done.stdout.splitlines() or [""]
    if done.returncode not in (0, 1):
        lines.insert(0, f"seeds {first} to {last}: exit {done.returncode}: {done.stderr[-500:]}")
    return lines
