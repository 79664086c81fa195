"""A short run of the fuzzers, so that they keep building and finding nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parent / "fuzz" / "run"


def _fuzzer_runtime() -> bool:
    if shutil.which("clang") is None:
        return False
    found = subprocess.run(
        ["clang", "-print-file-name=libclang_rt.fuzzer-x86_64.a"], capture_output=True, text=True
    )
    return "/" in found.stdout


@pytest.mark.skipif(not _fuzzer_runtime(), reason="needs clang and libclang-rt-dev")
@pytest.mark.parametrize("target", ["call", "options"])
def test_fuzz(tmp_path: Path, target: str) -> None:
    done = subprocess.run(
        [str(RUN), target, "5000", str(tmp_path)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert re.search(r"number_of_executed_units: 5000", done.stderr)
