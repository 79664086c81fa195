# ruff: noqa: E402 - MLX is imported after the BLAS
"""The long tests: ``make soak``, or ``python -m tests.soak --only kills --scale 0.05``.

Each stage injects faults into real servers (or the simulated scheduler), prints a table,
writes JSON and fails when something did not hold. At full size all of them take hours.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from mlxforge.engine import blas

blas.preload()

from .report import Watch, save
from .stages import STAGES


def main() -> int:
    """Run the stages; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"stages, separated by commas, of {', '.join(STAGES)}")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size (1)")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="folder of the JSON")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",") if arguments.only else list(STAGES)
    if unknown := set(wanted) - set(STAGES):
        parser.error(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    failed = []
    for name in wanted:
        print(f"\n::: soak {name} × {arguments.scale:g}", flush=True)
        watch = Watch()
        report = importlib.import_module(f"{__package__}.{name}").run(arguments.scale)
        save(name, report, arguments.scale, watch.seconds, arguments.out)
        print(f"::: {name}: {watch.seconds:.0f} s", flush=True)
        if not report.held:
            failed.append(name)
    print(f"\nsoak: {len(wanted) - len(failed)} of {len(wanted)} stages held", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
