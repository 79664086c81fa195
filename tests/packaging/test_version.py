"""The version and the licence stand in one place; where a format repeats them, they agree."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_installed_version_is_the_projects() -> None:
    assert version("mlxforge") == PROJECT["version"]


def test_sources_do_not_repeat_the_version() -> None:
    literal = re.compile(rf"""["']{re.escape(PROJECT["version"])}["']""")
    sources = [
        *ROOT.glob("engine/**/*.py"),
        *ROOT.glob("service/**/*.py"),
        *ROOT.glob("capi/**/*.[ch]"),
    ]
    assert sources
    assert not [path for path in sources if literal.search(path.read_text())]


def test_cmake_reads_the_projects_version(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "cmake"), "-S", str(ROOT), "-B", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    cache = (tmp_path / "CMakeCache.txt").read_text()
    assert f"CMAKE_PROJECT_VERSION:STATIC={PROJECT['version']}\n" in cache


@pytest.mark.parametrize("name", ["stubs/node/package.json", "stubs/rust/Cargo.toml"])
def test_client_packages_agree(name: str) -> None:
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{name} is not there yet")
    text = path.read_text()
    if path.suffix == ".json":
        package = json.loads(text)
    else:
        manifest = tomllib.loads(text)
        package = {**manifest["package"], **manifest.get("workspace", {}).get("package", {})}
    assert (package["version"], package["license"]) == (PROJECT["version"], PROJECT["license"])


def test_changelog_knows_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{PROJECT['version']}]" in changelog
