r"""The default model beside mlx-lm: tokens per second and time to first token by streams.

The same prompts (passages of the Universal Declaration of Human Rights, about 64 tokens),
greedy, the same number of new tokens, all streams started at once. Each side runs in
processes of its own, one after the other:

    mlxforge            our engine, in the process that asks
    mlxforge worker     our engine in a worker, without gRPC
    mlxforge gRPC       our server and its worker, asked by a grpc.aio client
    gRPC, no worker     the same with the engine in the server's process
    mlx-lm              BatchGenerator as `pip install mlx-lm` gives it: on Linux CPUs that
                        is MLX's reference BLAS
    mlx-lm + OpenBLAS   BatchGenerator with the BLAS that mlxforge loads (Linux CPUs only)

All get the same weights (of the same file, in the type that mlxforge serves them in here).
"same" counts the streams whose tokens are exactly those of mlxforge.

    python -m bench.service                             # about 5 minutes on two cores
    python -m bench.service --streams 1,16 --new 16 --sides engine,grpc
    python -m bench.service --streams 32,128 --new 64 --sides engine,grpc --rounds 5

A model of random weights, for a GPU (its tokenizer reads a token for each character):

    python -m bench.shapes 8b /tmp/8b
    python -m bench.service --model /tmp/8b --chars 128 --new 128 --streams 32,128,32,128 \
        --sides engine,grpc
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import track

from bench.sides import RUNNERS, Run, add_arguments
from mlxforge.engine import blas

blas.preload()

from bench import report  # noqa: E402 - imports MLX: after the BLAS

# At least, on Linux CPUs, because of the BLAS.
WANTED = 5
SIDES = {
    "engine": "mlxforge",
    "worker": "mlxforge worker",
    "grpc": "mlxforge gRPC",
    "local": "gRPC, no worker",
    "plain": "mlx-lm",
    "openblas": "mlx-lm + OpenBLAS",
}


def in_process_of_its_own(side: str, args: argparse.Namespace) -> list[Run]:
    """Run this program again for one side."""
    streams = ",".join(map(str, args.streams))
    command = [sys.executable, "-m", "bench.sides", side, "--model", args.model]
    command += ["--streams", streams, "--chars", str(args.chars), "--new", str(args.new)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [Run(**entry) for entry in json.loads(done.stdout.splitlines()[-1])]


def measured(sides: Sequence[str], args: argparse.Namespace) -> list[dict[str, list[Run]]]:
    """Rounds, each of all sides; every other one the other way round, for a machine's speed
    drifts.
    """
    rounds = []
    for number in track(range(args.rounds), "rounds", disable=args.rounds == 1):
        order = sides if number % 2 == 0 else sides[::-1]
        rounds.append({side: in_process_of_its_own(side, args) for side in order})
    return rounds


def row_of(side: str, count: int, runs: Sequence[Run], ours: Sequence[Run]) -> dict[str, Any]:
    """Medians over a side's rounds; ``ours`` are the first side's, round by round."""
    slower = [run.seconds / other.seconds for run, other in zip(runs, ours, strict=True)]
    row = {
        "side": SIDES[side],
        "streams": count,
        "tok/s": statistics.median(sum(map(len, run.tokens)) / run.seconds for run in runs),
        "first token ms": 1e3 * statistics.median(statistics.median(run.first) for run in runs),
        "last first token ms": 1e3 * statistics.median(max(run.first) for run in runs),
        "times slower": statistics.median(slower),
        "same": min(
            sum(a == b for a, b in zip(run.tokens, other.tokens, strict=True))
            for run, other in zip(runs, ours, strict=True)
        ),
    }
    if len(runs) > 1:
        row["least"], row["most"] = min(slower), max(slower)
    return row


def compare(args: argparse.Namespace) -> None:
    """All sides, one after the other; table, JSON, plots."""
    has_blas = blas.preload() is not None
    sides = [side for side in args.sides if side != "openblas" or has_blas]
    rounds = measured(sides, args)
    rows: list[dict[str, Any]] = []
    for side in sides:
        for place, count in enumerate(args.streams):
            runs, ours = ([found[each][place] for found in rounds] for each in (side, sides[0]))
            rows.append(row_of(side, count, runs, ours))
        print(report.table(rows[-len(args.streams) :]), flush=True)
    if "plain" in sides and has_blas:
        for row in rows:
            if row["side"] == SIDES["plain"]:
                wanted = f" (wanted: {WANTED})" if row["streams"] == 16 else ""
                factor = f"{row['times slower']:.1f} times the plain wheel's speed{wanted}"
                print(f"{SIDES[sides[0]]} at {row['streams']} streams: {factor}")
    name = "service" if "/" not in args.model else f"service-{Path(args.model).name}"
    settings = {key: value for key, value in vars(args).items() if key != "out"}
    report.save(name, rows, args.out, **settings)
    labels = [f"{count} streams" for count in args.streams]
    for key, unit in (("tok/s", "tokens/s"), ("first token ms", "ms")):
        series = {
            SIDES[side]: [row[key] for row in rows if row["side"] == SIDES[side]] for side in sides
        }
        file = f"{name}-{'throughput' if unit == 'tokens/s' else 'first-token'}.png"
        report.bars(args.out / file, f"{args.model}, {args.new} new tokens", labels, series, unit)


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_arguments(parser)
    usual = "engine,grpc,plain,openblas"
    parser.add_argument(
        "--sides",
        default=usual,
        help=f"of {', '.join(RUNNERS)} ({usual}); all are compared with the first",
    )
    rounds = "times that all sides run; medians, and of `times slower` the least and the most (1)"
    parser.add_argument("--rounds", type=int, default=1, help=rounds)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args()
    args.sides = args.sides.split(",")
    compare(args)


if __name__ == "__main__":
    main()
