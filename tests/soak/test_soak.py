"""The soak at the smallest size of those stages that no other test has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="written for Linux")


def soak(folder: Path, *stages: str) -> dict[str, dict[str, Any]]:
    """The stages' JSON; a stage in which something did not hold fails the test."""
    command = [sys.executable, "-m", "tests.soak", "--scale", "0", "--only", ",".join(stages)]
    done = subprocess.run(
        [*command, "--out", str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {stage: json.loads((folder / f"{stage}.json").read_text()) for stage in stages}


def test_row_35_a_planted_leak_is_noticed(tmp_path: Path) -> None:
    """The same check holds for the server and is missed by one that leaks."""
    found = soak(tmp_path, "endurance")["endurance"]
    checks = {check["name"]: check["held"] for check in found["checks"]}
    assert {f"the leak is noticed: {what}" for what in ("RSS", "descriptors", "threads")} <= set(
        checks
    )
    assert all(checks.values())


def test_drains_and_lives(tmp_path: Path) -> None:
    found = soak(tmp_path, "simulator", "drains")
    assert found["drains"]["exits"] == {"0": 2}
    assert found["simulator"]["rows"][0]["seeds"] >= 20
