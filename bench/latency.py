"""Latency under load: how evenly tokens come while long prompts are being read.

Requests arrive as a Poisson process, with prompts of very different lengths, at a share of
what our engine can serve at most (measured first, with all requests at once). The same
requests at the same times then go to mlx-lm's BatchGenerator, in this process, on the same
random weights. Reported are the distributions of the time to first token, from the moment
a request was due, and of the gap between two tokens of a stream. Shapes are warmed up with
other requests before.

Then half of 64 running streams are cancelled: how many steps pass until their rows and
memory are free, and what a step takes before and after.

    python -m bench.latency --shape 8b                                     # a data-centre GPU
    python -m bench.latency --shape 135m --requests 16 --max-prompt 400 --max-new 48    # a CPU
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import traffic  # first of all: it loads the BLAS before MLX

import numpy as np  # isort: skip

from bench import report, shapes
from bench.traffic import Ours, Peer, Stream
from mlxforge.engine.config import EngineConfig

_PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
_CANCEL_STEPS = 24


def trace(args: argparse.Namespace, seed: int, count: int, rate: float) -> list[Stream]:
    """``count`` requests of the mix that the arguments describe."""
    prompt, new = (args.min_prompt, args.max_prompt), (args.min_new, args.max_new)
    vocab = shapes.SHAPES[args.shape]["vocab_size"]
    return traffic.poisson(args.seed + seed, count, rate, prompt, new, vocab)


def capacity(engine: Ours | Peer, args: argparse.Namespace) -> float:
    """Requests a second when all are there at once, after a warm-up."""
    engine.run(trace(args, 1, max(1, args.requests // 3), math.inf))
    streams = trace(args, 2, args.requests, math.inf)
    return len(streams) / engine.run(streams)


def replay(engine: Ours | Peer, args: argparse.Namespace, rate: float) -> dict[str, Any]:
    """The measured run, after one with other requests: samples in ms, tokens a second."""
    engine.run(trace(args, 3, max(1, args.requests // 2), rate))
    streams = trace(args, 4, args.requests, rate)
    seconds = engine.run(streams)
    return {
        "first": [1e3 * stream.first for stream in streams],
        "gap": [1e3 * gap for stream in streams for gap in stream.gaps],
        "tok/s": sum(stream.new for stream in streams) / seconds,
        "seconds": seconds,
    }


def distribution(name: str, what: str, values: Sequence[float]) -> dict[str, Any]:
    """A row of the table; times in ms."""
    found = {key: float(np.percentile(values, at)) for key, at in _PERCENTILES.items()}
    return {
        "engine": name,
        "ms": what,
        "samples": len(values),
        **found,
        "p99/p50": found["p99"] / found["p50"],
    }


def cancel_half(engine: Ours, rows: int, prompt: int) -> list[dict[str, Any]]:
    """Cancel every second of ``rows`` running streams; what holds before and after."""
    core = engine.core
    source = random.Random(5)
    streams = [
        Stream(traffic.tokens(source, prompt, engine.vocab), 16 * _CANCEL_STEPS)
        for _ in range(rows)
    ]
    groups = [engine.group(stream) for stream in streams]
    engine.start()
    engine.submit(groups)
    while len(core.batch) < rows:
        if not core.step():
            raise RuntimeError(f"{rows} streams never ran together: lower --cancel-streams")
    table = [_state(engine, "before", 0)]
    for group in groups[::2]:
        core.abort(group.request.request_id)
    steps = 0
    while len(core.batch) > len(groups[1::2]):
        core.step()
        steps += 1
    table.append(_state(engine, "after", steps))
    for group in groups:
        core.abort(group.request.request_id)
    engine.drain()
    return table


def _state(engine: Ours, when: str, steps: int) -> dict[str, Any]:
    """A row on the running streams. ``steps``: until the rows that were cancelled were free."""
    core = engine.core
    streams, slots = len(core.batch), core.runner.nbytes
    length = max(s.length for s in core.batch) + 1
    times = []
    for _ in range(_CANCEL_STEPS):
        started = time.perf_counter()
        core.step()
        times.append(1e3 * (time.perf_counter() - started))
    return {
        "half cancelled": when,
        "streams": streams,
        "steps": steps,
        "step ms": statistics.median(times[4:]),  # the first may prepare kernels
        # What admission counts for these rows, and so keeps from others; what is allocated.
        "counted MiB": core.runner.cost(streams, length) / 2**20,
        "slots MiB": slots / 2**20,
    }


def measure(args: argparse.Namespace) -> None:
    """Both engines, one after the other; what is known is written after each."""
    engine = Ours(args.shape, EngineConfig(max_running_requests=args.rows))
    most = {"mlxforge": capacity(engine, args)}
    rate = args.rate or args.load * most["mlxforge"]
    print(f"at most {most['mlxforge']:.2f} requests/s; arrivals at {rate:.2f}/s", flush=True)
    runs = {"mlxforge": replay(engine, args, rate)}
    write(args, rate, most, runs, cancel=[])
    cancel = cancel_half(engine, args.cancel_streams, args.cancel_prompt)
    print(report.table(cancel), flush=True)
    engine.release()
    if args.peer:
        peer = Peer(args.shape, args.rows)
        most["mlx-lm"] = capacity(peer, args)
        runs["mlx-lm"] = replay(peer, args, rate)
        peer.release()
    write(args, rate, most, runs, cancel)


def write(
    args: argparse.Namespace,
    rate: float,
    most: dict[str, float],
    runs: dict[str, dict[str, Any]],
    cancel: list[dict[str, Any]],
) -> None:
    """Tables, JSON and plot of the engines measured so far."""
    parts = {"first": "time to first token", "gap": "gap between tokens"}
    rows = [
        distribution(name, label, run[part])
        for part, label in parts.items()
        for name, run in runs.items()
    ]
    totals = [
        {
            "engine": name,
            "requests/s at most": most[name],
            "load": rate / most[name],
            "tok/s": run["tok/s"],
            "seconds": run["seconds"],
        }
        for name, run in runs.items()
    ]
    print(report.table(totals))
    settings = {key: value for key, value in vars(args).items() if key != "out"}
    name = f"latency-{args.shape}"
    report.save(
        name, rows, args.out, totals=totals, rate=rate, cancel=cancel, settings=settings, runs=runs
    )
    title = (
        f"{args.shape}, {args.requests} requests, {rate:.2f}/s, prompts {args.min_prompt}-"
        f"{args.max_prompt}, outputs {args.min_new}-{args.max_new} tokens"
    )
    panels = {label: {n: run[part] for n, run in runs.items()} for part, label in parts.items()}
    report.cdfs(args.out / f"{name}.png", title, panels, "ms")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shape", default="135m", choices=sorted(shapes.SHAPES))
    parser.add_argument("--requests", type=int, default=60, help="of the measured run (60)")
    parser.add_argument("--load", type=float, default=0.7, help="share of our capacity (0.7)")
    parser.add_argument("--rate", type=float, help="requests per second, instead of --load")
    parser.add_argument("--min-prompt", type=int, default=32, help="tokens (32)")
    parser.add_argument("--max-prompt", type=int, default=4000, help="tokens (4000)")
    parser.add_argument("--min-new", type=int, default=16, help="tokens (16)")
    parser.add_argument("--max-new", type=int, default=256, help="tokens (256)")
    parser.add_argument("--rows", type=int, default=128, help="most that decode at once (128)")
    parser.add_argument("--cancel-streams", type=int, default=64, help="half are cancelled (64)")
    parser.add_argument("--cancel-prompt", type=int, default=128, help="their prompts (128)")
    parser.add_argument("--seed", type=int, default=0, help="of all arrivals and prompts (0)")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="leave mlx-lm out")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args()
    traffic.prepare()
    measure(args)


if __name__ == "__main__":
    main()
