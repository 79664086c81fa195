"""A library in front of libc that makes reading chosen files fail, or the reader die."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("io_fault.c")


def preloaded(folder: Path, *, eio: str = "", abort: str = "") -> dict[str, str]:
    """Builds it into ``folder``; variables of a process in which it works.

    Reads of files whose path contains ``eio`` fail with EIO; the process that reads one whose
    path contains ``abort`` aborts.
    """
    library = folder / "io_fault.so"
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror"]
    subprocess.run(["cc", *options, "-o", library, SOURCE, "-ldl"], check=True)
    return {
        "LD_PRELOAD": str(library),
        "MLXFORGE_TEST_EIO": eio,
        "MLXFORGE_TEST_ABORT": abort,
    }
