"""ghz, the load generator: found or built, run, and read."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULE = "github.com/bojand/ghz/cmd/ghz@v0.120.0"
METHOD = "mlxforge.v1.GenerationService/StreamGenerate"


def program() -> str:
    """Its path: ``GHZ``, the one on PATH, else built from the Go module; "" without Go."""
    built = ROOT / "build" / "go" / "ghz"
    found = os.environ.get("GHZ") or shutil.which("ghz")
    if found or built.exists() or shutil.which("go") is None:
        return found or (str(built) if built.exists() else "")
    print(f"==> go install {MODULE}", flush=True)
    environment = {**os.environ, "GOBIN": str(built.parent)}
    done = subprocess.run(["go", "install", MODULE], env=environment, cwd=ROOT)
    return "" if done.returncode else str(built)


async def run(
    address: str,
    message: Mapping[str, Any],
    *,
    at_once: int,
    requests: int,
    connections: int,
    rate: float = 0.0,
) -> dict[str, Any]:
    """ghz's report: ``count``, ``rps``, ``statusCodeDistribution``, ``details`` of each call.

    At most ``at_once`` calls run at any time, over so many connections; ``rate`` of them are
    begun in a second, 0: as soon as one ends. Latencies are nanoseconds.
    """
    ghz = program()
    if not ghz:
        raise FileNotFoundError("ghz is not there, nor Go to build it")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        process = await asyncio.create_subprocess_exec(
            ghz, "--insecure", "--call", METHOD, "--data", json.dumps(message),
            "--concurrency", str(at_once), "--total", str(requests),
            "--connections", str(connections), "--timeout", "300s",
            "--rps", str(round(rate)),
            "--format", "json", "--output", str(out), address,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        if not out.exists():
            raise RuntimeError(f"ghz: {said.decode()[-2000:]}")
        report: dict[str, Any] = json.loads(out.read_text())
    return report


def latencies(report: Mapping[str, Any], status: str) -> list[float]:
    """Seconds of the calls that ended with a status."""
    return [d["latency"] / 1e9 for d in report["details"] if d["status"] == status]
