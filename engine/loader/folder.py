"""Model folders: which files may be read, and the settings in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import LoadError
from .safetensors_header import check_safetensors

MAX_JSON = 16 << 20
"""Bytes of a settings file (a tokenizer has its own limit)."""
MAX_ENTRIES = 10_000
# Loops run as often as such a setting says, before any weight is looked at.
MAX_LAYERS = 4_096
_COUNTS = ("layer", "expert", "block")


def check_folder(folder: Path) -> None:
    """Raises ``LoadError`` for a folder that reaches outside of itself or holds no weights.

    A link may lead to another file of the folder, or, in Hugging Face's cache, to the
    ``blobs`` beside its ``snapshots``; nowhere else.
    """
    root = folder.resolve()
    allowed = [root]
    if root.parent.name == "snapshots":
        allowed.append(root.parent.parent / "blobs")
    entries = sorted(root.rglob("*"))[: MAX_ENTRIES + 1]
    if len(entries) > MAX_ENTRIES:
        raise LoadError(f"{folder}: more than {MAX_ENTRIES:,} files")
    for entry in entries:
        target = entry.resolve()
        if not any(target.is_relative_to(place) for place in allowed):
            raise LoadError(f"{folder}: {entry.name} is a link that leads outside of the folder")
        if not (target.is_file() or target.is_dir()):
            raise LoadError(f"{folder}: {entry.name} is no regular file")
    weights = sorted(root.glob("*.safetensors"))
    if not weights:
        raise LoadError(f"{folder}: no *.safetensors files; other formats are not read")
    for path in weights:
        check_safetensors(path)


def read_json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    """A settings file, an object; empty when it is ``optional`` and not there."""
    if optional and not path.exists():
        return {}
    try:
        if path.stat().st_size > MAX_JSON:
            raise LoadError(f"{path.name} is larger than {MAX_JSON:,} bytes")
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise LoadError(f"{path.name} is no JSON object")
    return value


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json``, refused when it asks for code of its own or for absurd sizes."""
    config = read_json(folder / "config.json")
    if config.get("model_file") is not None:
        raise LoadError(
            f"{folder.name}: its config.json names Python code (model_file), which is never run"
        )
    if not isinstance(config.get("model_type"), str):
        raise LoadError(f"{folder.name}: its config.json names no model_type")
    _check_counts(config)
    return config


def _check_counts(config: dict[str, Any], path: str = "") -> None:
    for key, value in config.items():
        if isinstance(value, dict) and path.count(".") < 8:
            _check_counts(value, f"{path}{key}.")
        elif (
            isinstance(value, int)
            and abs(value) > MAX_LAYERS
            and any(word in key for word in _COUNTS)
            and "size" not in key
            and "dim" not in key
        ):
            raise LoadError(f"config.json: {path}{key} of {value} is over {MAX_LAYERS:,}")
