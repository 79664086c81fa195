"""What callers may load."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxforge.engine.errors import InvalidRequest, ModelNotFound, PermissionDenied
from mlxforge.service.registry.sources import Sources, checked_id


def test_by_default_only_what_was_named_and_packaged(tmp_path: Path) -> None:
    sources = Sources(packaged=("tiny",))
    sources.name(str(tmp_path))
    sources.name("owner/model")
    assert sources.checked("tiny") == "tiny"
    assert sources.checked("owner/model") == "owner/model"
    assert sources.checked(f"{tmp_path}/x/..") == str(tmp_path)
    for source in ("owner/other", "/etc/passwd", "/no/such/file", f"{tmp_path}/below"):
        with pytest.raises(PermissionDenied, match=r"models\.allow") as caught:
            sources.checked(source)
        assert caught.value.reason == "MODEL_NOT_ALLOWED"
    for source in ("no-such-model", "../etc", "a/b@../../c", "~/models", "./x", "https://x/y"):
        with pytest.raises(ModelNotFound, match="tiny"):
            sources.checked(source)


def test_patterns_of_hub_ids() -> None:
    sources = Sources(("mlx-community/*-4bit", "me/one"))
    assert sources.checked("mlx-community/Qwen3-4B-4bit")
    assert sources.checked("me/one")
    for source in ("mlx-community/Qwen3-4B", "me/one2", "me/one@main", "x/mlx-community"):
        with pytest.raises(PermissionDenied):
            sources.checked(source)


def test_patterns_of_paths_hold_after_links_are_followed(tmp_path: Path) -> None:
    real, secret = tmp_path / "real", tmp_path / "secret"
    for folder in (real / "a", secret):
        folder.mkdir(parents=True)
    (tmp_path / "models").symlink_to(real)
    (real / "out").symlink_to(secret)
    (real / "loop").symlink_to(real / "loop")
    sources = Sources((f"{tmp_path}/models/*",))
    assert sources.checked(f"{tmp_path}/models/a") == str(real / "a")
    assert sources.checked(f"{real}/a") == str(real / "a")
    assert sources.checked(f"{real}/loop") == str(real / "loop")  # the engine says what it is
    escapes = ("models/out", "models/../secret", "secret", "models", "real")
    for escape in escapes:
        with pytest.raises(PermissionDenied):
            sources.checked(f"{tmp_path}/{escape}")


def test_a_folder_of_the_server_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "local").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFound):
        Sources(("*",)).checked("local")
    sources = Sources(("./*",))
    assert sources.checked(f"{tmp_path}/local") == str((tmp_path / "local").resolve())


@pytest.mark.parametrize("source", ["", "/a\n/b", "/" + "x/" * 5000])
def test_what_is_no_source(source: str) -> None:
    sources = Sources(("*",))
    with pytest.raises(InvalidRequest, match="model"):
        sources.checked(checked_id("", source) and source)


def test_ids() -> None:
    assert checked_id("", "/models/Qwen3-4B.Q4.gguf") == "Qwen3-4B.Q4"
    assert checked_id("", "owner/name@main") == "name@main"
    assert checked_id("mine", "owner/name") == "mine"
    for bad in ("a b", "a\nb", "-a", "x" * 129, "a/b", "ü"):
        with pytest.raises(InvalidRequest, match="id: "):
            checked_id(bad, "owner/name")
    with pytest.raises(InvalidRequest, match="model: "):
        checked_id("x", "")
