"""Tokenizers from the files of a Hugging Face or MLX folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tokenizers

from ..errors import LoadError
from .marks import is_control
from .native import native_errors
from .tokenizer import Tokenizer
from .vocabulary import Spelling

MAX_TOKENIZER = 256 << 20
"""Bytes of tokenizer.json; the largest known ones have 35 MB."""
_MAX_SETTINGS = 16 << 20
_MAX_TEMPLATE = 1 << 20
_SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")


def tokenizer_from_folder(folder: Path, *, eos_token_ids: Iterable[int] = ()) -> Tokenizer:
    """Read a folder's tokenizer; ``eos_token_ids`` are the ends that its other settings name.

    ``tokenizer.json`` is read as it stands; a folder that has only a sentencepiece or
    tiktoken model is converted by transformers. Raises ``LoadError``.
    """
    path = folder / "tokenizer.json"
    data = _read_object(path, MAX_TOKENIZER) if path.exists() else _converted(folder)
    settings_path = folder / "tokenizer_config.json"
    settings = _read_object(settings_path, _MAX_SETTINGS) if settings_path.exists() else {}
    templates = _chat_templates(folder, settings)
    return tokenizer_from_json(data, settings, templates, eos_token_ids)


def tokenizer_from_json(
    data: dict[str, Any],
    settings: Mapping[str, Any],
    templates: Mapping[str, str],
    eos_token_ids: Iterable[int],
) -> Tokenizer:
    """A tokenizer from the contents of its files. Raises ``LoadError``."""
    added = data.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise LoadError("tokenizer.json: added_tokens is no list of tokens")
    special = {token.get("id") for token in added if token.get("special")}
    for token in added:
        # The library keeps tokens with this flag out of plain text, which is what we want.
        token["special"] = bool(token.get("special")) or is_control(
            str(token.get("content", "")), templates.values()
        )
    with native_errors(lambda detail: LoadError(f"tokenizer.json cannot be used: {detail}")):
        backend = tokenizers.Tokenizer.from_str(json.dumps(data))
    spelling, strips = _spelling(data)
    texts = _special_texts(settings)
    ends = set(eos_token_ids)
    end = backend.token_to_id(texts.get("eos_token", ""))
    if end is not None:
        ends.add(end)
    return Tokenizer(
        backend,
        spelling=spelling,
        special_token_ids=[index for index in special if isinstance(index, int)],
        eos_token_ids=ends,
        special_texts=texts,
        chat_templates=templates,
        strips_leading_space=strips,
    )


def _converted(folder: Path) -> dict[str, Any]:
    """transformers' conversion of a sentencepiece or tiktoken model to tokenizer.json."""
    # Imported here: it takes a second or two, and few models need it.
    from transformers import AutoTokenizer

    with native_errors(lambda e: LoadError(f"{folder.name}: its tokenizer cannot be read: {e}")):
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=False, local_files_only=True
        )
        data: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return data


def _spelling(data: Mapping[str, Any]) -> tuple[Spelling, bool]:
    """How the vocabulary spells bytes, and whether a text's first space is dropped."""
    decoder = data.get("decoder")
    steps = _steps(decoder)
    kinds = {step.get("type") for step in steps}
    if "ByteLevel" in kinds:
        return Spelling.BYTE_LEVEL, False
    if "WordPiece" in kinds:
        return Spelling.WORDPIECE, True
    replaces = any(
        step.get("type") == "Replace" and (step.get("pattern") or {}).get("String") == "▁"
        for step in steps
    )
    if "Metaspace" in kinds or "ByteFallback" in kinds or replaces:
        strips = any(step.get("type") == "Strip" and step.get("start") for step in steps)
        schemes = [s.get("prepend_scheme", "always") for s in steps if s["type"] == "Metaspace"]
        return Spelling.SENTENCEPIECE, strips or any(scheme != "never" for scheme in schemes)
    if not kinds:
        return Spelling.PLAIN, False
    raise LoadError(f"tokenizer.json: the decoder {sorted(map(str, kinds))} is not supported")


def _steps(decoder: Any) -> list[dict[str, Any]]:
    if not isinstance(decoder, dict):
        return []
    if decoder.get("type") == "Sequence":
        return [step for part in decoder.get("decoders") or [] for step in _steps(part)]
    return [decoder]


def _special_texts(settings: Mapping[str, Any]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name in _SPECIAL_NAMES:
        value = settings.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            texts[name] = text
    return texts


def _chat_templates(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Templates by name: their own files first, then the ones in tokenizer_config.json."""
    templates: dict[str, str] = {}
    stored = settings.get("chat_template")
    if isinstance(stored, str):
        templates["default"] = stored
    elif isinstance(stored, list):
        templates.update(
            (str(entry["name"]), str(entry["template"]))
            for entry in stored
            if isinstance(entry, dict) and "name" in entry and "template" in entry
        )
    older = folder / "chat_template.json"
    if older.exists():
        source = _read_object(older, _MAX_SETTINGS).get("chat_template")
        if isinstance(source, str):
            templates["default"] = source
    if (folder / "chat_template.jinja").exists():
        templates["default"] = _read_text(folder / "chat_template.jinja", _MAX_TEMPLATE)
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja"))[:16]:
        templates[path.stem] = _read_text(path, _MAX_TEMPLATE)
    if templates and "default" not in templates:
        raise LoadError(f"{folder.name}: none of its chat templates is called 'default'")
    return templates


def _read_object(path: Path, limit: int) -> dict[str, Any]:
    try:
        value = json.loads(_read_text(path, limit))
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{path.name} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise LoadError(f"{path.name} is no JSON object")
    return value


def _read_text(path: Path, limit: int) -> str:
    try:
        if path.stat().st_size > limit:
            raise LoadError(f"{path.name} is larger than {limit:,} bytes")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"{path.name} cannot be read: {error}") from error
