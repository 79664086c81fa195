"""Runs the test suites of all languages: ``python tests/suites.py [--lint|--fmt] [NAME…]``.

A suite whose folder or toolchain is missing is skipped, and the reason said. All others
run even when one fails; the last line counts them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Command = tuple[str, ...]
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
UNAVAILABLE = 69  # of sysexits.h: a suite's tool was to be fetched, and could not be had
PYTEST: Command = (sys.executable, "-m", "pytest", "-q")


@dataclass(frozen=True, slots=True)
class Suite:
    """One language's tests. ``folder`` is relative to the checkout; commands run in it."""

    name: str
    folder: str
    marker: str  # the file that says the suite is there
    tool: str
    minimum: tuple[int, int]  # version of the tool
    test: tuple[Command, ...]
    lint: tuple[Command, ...] = ()
    fmt: tuple[Command, ...] = ()
    probe: str = "--version"  # what has the tool say its version

    def missing(self) -> str | None:
        """Why the suite cannot run here; None when it can."""
        if not (ROOT / self.folder / self.marker).exists():
            return f"{self.folder} is not there yet"
        if shutil.which(self.tool) is None:
            return f"no {self.tool} on PATH"
        shown = subprocess.run([self.tool, self.probe], capture_output=True, text=True)
        found = re.search(r"(\d+)\.(\d+)", shown.stdout)
        if shown.returncode or found is None:
            return shown.stderr.strip() or f"{self.tool} does not run"
        if (int(found[1]), int(found[2])) < self.minimum:
            return f"{self.tool} {found[0]} is older than {'.'.join(map(str, self.minimum))}"
        return None


# Not `npm ci`: it refuses a lock file that lacks other platforms' optional packages, and a
# registry that does not carry them all makes no other. Versions are the lock file's all the same.
_NPM_INSTALL = ("npm", "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error")

_SWIFT = str(ROOT / "stubs" / "swift" / "toolchain.sh")
_SWIFT_FORMAT = (_SWIFT, "swift", "format")
_SWIFT_FILES = (
    "--parallel",
    "--recursive",
    "Package.swift",
    "Sources",
    "Tests",
    "Examples",
    "grpc",
)

SUITES = (
    Suite(
        name="node",
        folder="stubs/node",
        marker="package.json",
        tool="node",
        minimum=(20, 19),
        test=(_NPM_INSTALL, ("npm", "run", "build"), ("npm", "test")),
        lint=(_NPM_INSTALL, ("npm", "run", "lint"), ("npm", "run", "proto:check")),
        fmt=(_NPM_INSTALL, ("npm", "run", "fmt")),
    ),
    Suite(
        name="rust",
        folder="stubs/rust",
        marker="Cargo.toml",
        tool="cargo",
        minimum=(1, 88),
        test=(("cargo", "test", "--workspace", "--locked"),),
        lint=(
            ("cargo", "fmt", "--all", "--check"),
            ("cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-Dwarnings"),
            ("cargo", "clippy", "-p", "mlxforge", "--locked", "--no-default-features")
            + ("--features", "embedded", "--", "-Dwarnings"),
            ("cargo", "run", "--quiet", "--locked", "-p", "mlxforge-codegen", "--", "--check"),
        ),
        fmt=(("cargo", "fmt", "--all"),),
    ),
    Suite(
        name="swift",
        folder="stubs/swift",
        marker="Package.swift",
        tool=_SWIFT,
        probe="version",
        minimum=(6, 0),
        test=(("./test.sh",),),
        lint=((*_SWIFT_FORMAT, "lint", "--strict", *_SWIFT_FILES),),
        fmt=((*_SWIFT_FORMAT, "--in-place", *_SWIFT_FILES),),
    ),
    Suite(
        name="python",
        folder=".",
        marker="pyproject.toml",
        tool=sys.executable,
        minimum=(3, 11),
        # Checks must hold without assertions too: what refuses bad input runs again under -O.
        test=(
            PYTEST,
            (sys.executable, "-O", *PYTEST[1:], "-Wignore::pytest.PytestConfigWarning")
            + ("-m", "not slow", "-k", "validat or error or refus or reject or limit"),
        ),
    ),
)


def grpcurl() -> str:
    """Path of the real grpcurl: the one on PATH, else built from the Go module; "" without Go."""
    built = ROOT / "build" / "go" / "grpcurl"
    found = os.environ.get("GRPCURL") or shutil.which("grpcurl")
    if found or built.exists() or shutil.which("go") is None:
        return found or (str(built) if built.exists() else "")
    print(f"==> go install {GRPCURL}", flush=True)
    environment = {**os.environ, "GOBIN": str(built.parent)}
    done = subprocess.run(["go", "install", GRPCURL], env=environment, cwd=ROOT)
    return "" if done.returncode else str(built)


def run(suite: Suite, action: str) -> bool | None:
    """Run a suite's commands up to the first that fails: whether none did; None: skipped."""
    environment = {**os.environ, "MLXFORGE_PYTHON": sys.executable}
    if suite.name == "python" and action == "test" and (path := grpcurl()):
        environment["GRPCURL"] = path
    start = time.monotonic()
    for command in getattr(suite, action):
        print(f"==> {suite.name}: {' '.join(command)}", flush=True)
        status = subprocess.run(command, cwd=ROOT / suite.folder, env=environment).returncode
        if status == UNAVAILABLE:
            return None
        if status:
            print(f"<== {suite.name}: FAILED ({time.monotonic() - start:.0f} s)", flush=True)
            return False
    print(f"<== {suite.name}: passed ({time.monotonic() - start:.0f} s)", flush=True)
    return True


def main() -> int:
    """Run the named suites, or all; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="suites (all)")
    for action in ("lint", "fmt"):
        parser.add_argument(f"--{action}", dest="action", action="store_const", const=action)
    arguments = parser.parse_args()
    action = arguments.action or "test"
    by_name = {suite.name: suite for suite in SUITES}
    if unknown := set(arguments.names) - by_name.keys():
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(by_name)}")
    results: list[bool] = []
    skipped: list[str] = []
    for name in arguments.names or by_name:
        reason = by_name[name].missing()
        done = run(by_name[name], action) if reason is None else None
        if done is None:
            skipped.append(f"{name} skipped: {reason or 'its tools could not be had, see above'}")
        else:
            results.append(done)
    print("\n".join(skipped))
    print(f"suites: {sum(results)} passed, {results.count(False)} failed, {len(skipped)} skipped")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
