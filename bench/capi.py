"""What the C library costs: tokens per second and opening time beside the Python engine.

Both run in processes of their own, by turns, so that whatever else the machine does meets both:
a C program that takes its calls from one queue (``tests/capi/throughput.c``), and a Python
program that calls the engine without any door. Same model, prompts and numbers of tokens;
greedy, end tokens ignored. A figure is the median over all rounds and repeats.

    make capi && python -m bench.capi --out bench/results/capi
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "build" / "capi" / "tests" / "throughput"
GOALS = {"open": 1.5, "tokens": 0.97}

Figures = dict[str, list[float]]


async def engine(model: str, tokens: int, repeats: int, counts: list[int]) -> None:
    """The engine without a door; prints what the C program prints."""
    begin = time.perf_counter()
    from mlxforge.engine.config import EngineConfig
    from mlxforge.engine.engine import Engine
    from mlxforge.engine.request import GenerationRequest, SamplingParams

    client = Engine(model, EngineConfig(), model_id=model)
    await client.start()
    print(json.dumps({"open": time.perf_counter() - begin}))

    async def one(number: int, tokens: int) -> None:
        request = GenerationRequest(
            request_id=f"{number}-{time.perf_counter()}",
            prompt=f"Number {number}. Once upon a time in a land far away there lived",
            max_tokens=tokens,
            ignore_eos=True,
            sampling_params=SamplingParams(temperature=0.0),
        )
        async for _ in client.generate(request):
            pass

    async def run(count: int, tokens: int) -> float:
        begin = time.perf_counter()
        await asyncio.gather(*(one(i, tokens) for i in range(count)))
        return time.perf_counter() - begin

    for count in counts:
        await run(count, 4)
        for _ in range(repeats):
            speed = count * tokens / await run(count, tokens)
            print(json.dumps({"calls": count, "tokens_per_second": speed}))
    await client.close()


def measure(command: list[str], figures: Figures) -> None:
    """Run one side once and add its figures."""
    environment = {**os.environ, "MLXFORGE_PYTHON": sys.prefix}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    for line in done.stdout.splitlines():
        values = json.loads(line)
        if "open" in values:
            figures["open"].append(values["open"])
        else:
            figures[f"tokens, {values['calls']} calls"].append(values["tokens_per_second"])


def main() -> int:
    """The command; its exit status says whether the goals are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--out", type=Path, help="write OUT.json")
    parser.add_argument("--engine", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        asyncio.run(engine(arguments.model, arguments.tokens, arguments.repeats, arguments.calls))
        os._exit(0)
    numbers = [str(arguments.tokens), str(arguments.repeats)]
    counts = [str(count) for count in arguments.calls]
    python = [sys.executable, "-m", "bench.capi", "--engine", "--model", arguments.model]
    python += ["--tokens", numbers[0], "--repeats", numbers[1], "--calls", *counts]
    library = [str(PROGRAM), json.dumps({"model": arguments.model}), *numbers, *counts]
    sides: dict[str, Figures] = {"python": defaultdict(list), "c": defaultdict(list)}
    for turn in range(arguments.rounds):
        for name, command in (("python", python), ("c", library))[:: 1 if turn % 2 == 0 else -1]:
            measure(command, sides[name])
    return report(sides, arguments.out)


def report(sides: dict[str, Figures], out: Path | None) -> int:
    """Print and write the figures; 1 when a goal is missed."""
    missed = 0
    rows = []
    for name in sides["c"]:
        mine, theirs = (statistics.median(sides[side][name]) for side in ("c", "python"))
        ratio = mine / theirs
        goal = GOALS[name.partition(",")[0]]
        kept = ratio <= goal if name == "open" else ratio >= goal
        missed += not kept
        rows.append({"figure": name, "c": mine, "python": theirs, "ratio": ratio, "goal": goal})
        unit = "s" if name == "open" else "tokens/s"
        print(
            f"{name:18} C {mine:8.2f} {unit}, Python {theirs:8.2f} {unit}: ratio {ratio:.3f}"
            f" (goal {goal}{'' if kept else ', MISSED'})"
        )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.with_suffix(".json").write_text(json.dumps({"rows": rows, "all": sides}, indent=2))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
