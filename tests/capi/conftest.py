"""Builds libmlxforge and the tests' programs, and runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTED = str(Path(__file__).resolve().parent / "scripted")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def build() -> Path:
    """The folder of the C build, up to date."""
    folder = Path(os.environ.get("MLXFORGE_BUILD", ROOT / "build" / "capi"))
    cmake("-S", ROOT, "-B", folder)
    cmake("--build", folder, "--parallel", "2")
    return folder


def cmake(*arguments: str | Path) -> None:
    """Runs CMake, which must go well."""
    command = shutil.which("cmake", path=f"{sys.prefix}/bin:{os.environ['PATH']}")
    assert command is not None, "cmake is needed to build libmlxforge"
    done = subprocess.run([command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def environment(**changes: str) -> dict[str, str]:
    """What the programs see: this interpreter's environment to host, and the changes."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "MLXFORGE_PYTHON": sys.prefix, **changes}


@pytest.fixture
def run(build: Path) -> Run:
    """Runs a program of the build on scripted engines."""

    def run_program(
        program: str, *arguments: str, timeout: float = 60, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(build / "tests" / program), *arguments],
            env=environment(MLXFORGE_EMBEDDED_MODULE=SCRIPTED, **variables),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run_program
