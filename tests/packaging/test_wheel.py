"""The wheel as users get it: built from this checkout, unpacked and run elsewhere."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--disable-pip-version-check",
        ]
        + ["--config-settings=build-dir=" + str(folder / "build"), "--wheel-dir", folder, ROOT],
        check=True,
    )
    # Nothing in it is linked with CPython: one wheel for every version.
    (path,) = folder.glob("mlxforge-*-py3-none-*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_wheel_holds_every_source_module_once(names: set[str]) -> None:
    for folder, package in (("engine", "engine"), ("service", "service"), ("service/v1", "v1")):
        for source in (ROOT / folder).rglob("*.py"):
            relative = source.relative_to(ROOT / folder)
            if folder == "service" and relative.parts[0] == "v1":
                assert f"mlxforge/service/{relative}" not in names
            else:
                assert f"mlxforge/{package}/{relative}" in names


def test_wheel_holds_what_programs_need_and_no_more(names: set[str]) -> None:
    for package in ("engine", "service", "v1"):
        assert f"mlxforge/{package}/py.typed" in names
    if sys.platform.startswith("linux"):
        assert "mlxforge/lib/libmlxforge_blas.so" in names
    suffix = "dylib" if sys.platform == "darwin" else "so"
    for file in ("include/mlxforge.h", f"lib/libmlxforge.{suffix}", "lib/pkgconfig/mlxforge.pc"):
        assert f"mlxforge/{file}" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"mlxforge"}
    unwanted = (".c", ".pyc", ".proto", ".md", ".pth")
    assert not [
        name for name in names if name.endswith(unwanted) or "/tests/" in name or "/." in name
    ]


def test_wheel_runs_without_the_checkout(site: Path, tmp_path: Path) -> None:
    script = (
        "import mlxforge.engine.errors as e, mlxforge.v1.generation_pb2 as g;"
        "from mlxforge.engine import blas; blas.preload();"
        "print(e.__file__, g.__file__)"
    )
    # -S keeps the editable install's .pth files out; the dependencies come by path.
    path = os.pathsep.join([str(site), *[p for p in sys.path if p.endswith("-packages")]])
    result = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert all(file.startswith(str(site)) for file in result.stdout.split())
