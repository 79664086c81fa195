"""What the C library costs: tokens per second and opening time beside the Python engine.

Tokens: one process holds two engines on the same model, one called through the C ABI by a C
function that takes its calls from one queue (``tests/capi/throughput.c``), one called in Python
without any door. They work by turns, a few seconds each, so that whatever else the machine does
meets both; the ratio is that of the medians. Opening: processes of their own, by turns; the ratio
is that of the quickest, since other programs can only slow it down.

    make capi && python -m bench.capi --out bench/results/capi
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "build" / "capi" / "tests"
PROMPT = "Number {}. Once upon a time in a land far away there lived"  # as in throughput.c

OPEN_IN_PYTHON = """
import asyncio, os, sys, time
begin = time.perf_counter()
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.engine import Engine
asyncio.run(Engine(sys.argv[1], EngineConfig(), model_id="model").start())
print(time.perf_counter() - begin, flush=True)
os._exit(0)
"""


class PythonSide:
    """An engine called without a door, on a loop of its own."""

    def __init__(self, model: str) -> None:
        from mlxforge.engine.config import EngineConfig
        from mlxforge.engine.engine import Engine

        self._engine = Engine(model, EngineConfig(), model_id=model)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._wait(self._engine.start())

    def run(self, calls: int, tokens: int) -> float:
        """Seconds until so many requests at once have ended."""

        async def all_of_them() -> float:
            begin = time.perf_counter()
            await asyncio.gather(*(self._one(i, tokens) for i in range(calls)))
            return time.perf_counter() - begin

        return float(self._wait(all_of_them()))

    async def _one(self, number: int, tokens: int) -> None:
        from mlxforge.engine.request import GenerationRequest, SamplingParams

        request = GenerationRequest(
            request_id=f"{number}-{time.perf_counter()}",
            prompt=PROMPT.format(number),
            max_tokens=tokens,
            ignore_eos=True,
            sampling_params=SamplingParams(temperature=0.0),
        )
        async for _ in self._engine.generate(request):
            pass

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class CSide:
    """An engine called through the C ABI, from C."""

    def __init__(self, model: str) -> None:
        library = ctypes.CDLL(str(next(TESTS.glob("libthroughput_calls.*"))))
        library.mlxforge_engine_open.restype = ctypes.c_void_p
        library.throughput_run.restype = ctypes.c_double
        self._library = library
        config = json.dumps({"model": model}).encode()
        self._engine = ctypes.c_void_p(library.mlxforge_engine_open(config, None))
        if not self._engine:
            raise SystemExit("the library cannot open the model")

    def run(self, calls: int, tokens: int) -> float:
        """Seconds until so many calls at once have ended."""
        return float(self._library.throughput_run(self._engine, calls, tokens))


def throughput(model: str, counts: list[int], tokens: int, turns: int) -> list[dict[str, Any]]:
    """Tokens per second of both sides, for each number of calls."""
    sides: dict[str, CSide | PythonSide] = {"c": CSide(model), "python": PythonSide(model)}
    rows = []
    for calls in counts:
        speeds: dict[str, list[float]] = {"c": [], "python": []}
        for side in sides.values():
            side.run(calls, tokens)
        for turn in range(turns):
            for name in ("c", "python") if turn % 2 == 0 else ("python", "c"):
                speeds[name].append(calls * tokens / sides[name].run(calls, tokens))
        rows.append(row(f"tokens/s, {calls} calls", speeds, statistics.median, 0.97))
    return rows


def opening(model: str, turns: int) -> dict[str, Any]:
    """Seconds from nothing to ready, in a new process."""
    environment = {**os.environ, "MLXFORGE_PYTHON": sys.prefix}
    commands = {
        "c": [str(TESTS / "throughput"), json.dumps({"model": model})],
        "python": [sys.executable, "-c", OPEN_IN_PYTHON, model],
    }
    seconds: dict[str, list[float]] = {"c": [], "python": []}
    for _ in range(turns):
        for name, command in commands.items():
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            seconds[name].append(float(done.stdout))
    return row("seconds to open", seconds, min, 1.5)


def row(figure: str, sides: dict[str, list[float]], middle: Any, goal: float) -> dict[str, Any]:
    """One line of the report; an opening time must stay below its goal, a speed above."""
    c, python = middle(sides["c"]), middle(sides["python"])
    kept = c / python <= goal if goal > 1 else c / python >= goal
    result = {"figure": figure, "c": c, "python": python, "ratio": c / python, "goal": goal}
    print(
        f"{figure:20} C {c:7.2f}  Python {python:7.2f}  ratio {c / python:.3f}"
        f"  goal {goal}{'' if kept else '  MISSED'}",
        flush=True,
    )
    return {**result, "kept": kept, "all": sides}


def main() -> int:
    """The command; its exit status says whether the goals are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--opens", type=int, default=6)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--out", type=Path, help="write OUT.json")
    arguments = parser.parse_args()
    rows = [opening(arguments.model, arguments.opens)]
    rows += throughput(arguments.model, arguments.calls, arguments.tokens, arguments.turns)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.with_suffix(".json").write_text(json.dumps(rows, indent=2) + "\n")
    sys.stdout.flush()
    os._exit(0 if all(r["kept"] for r in rows) else 1)


if __name__ == "__main__":
    main()
