"""What a model's folder says about how it embeds.

The files and their meaning are those of sentence-transformers: ``modules.json`` lists the
stages after the transformer, ``1_Pooling/config.json`` names the pooling,
``sentence_bert_config.json`` the longest input and ``config_sentence_transformers.json`` the
prompts. A folder without them is a plain language model or encoder and gets its type's usual.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import LoadError
from ..request import Pooling

# Files are a few kilobytes; anything larger is not one of them.
_MAX_JSON_BYTES = 4 << 20

_POOLING_FLAGS = {
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_cls_token": Pooling.CLS,
    "pooling_mode_lasttoken": Pooling.LAST,
}
_POOLING_NAMES = {"mean": Pooling.MEAN, "cls": Pooling.CLS, "lasttoken": Pooling.LAST}

# The form in which Qwen3-Embedding, E5-instruct and their kin take a task.
_INSTRUCT = re.compile(r"\AInstruct: .*\n(?P<query>Query: ?)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DenseSettings:
    """A linear stage after pooling: its folder and its activation's class name."""

    folder: Path
    activation: str


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """How a model embeds.

    ``max_length`` counts tokens, special ones included; ``None``: the folder names none.
    ``include_prompt`` False: the instruction's tokens are left out of the pooling.
    ``declared``: the folder says that the model is for embedding.
    """

    pooling: Pooling
    max_length: int | None = None
    include_prompt: bool = True
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    query_suffix: str | None = None
    dense: tuple[DenseSettings, ...] = ()
    declared: bool = False

    def prompt(self, instruction: str) -> str:
        """The text to put before each input for ``instruction`` (empty: the model's default).

        The name of one of the model's own prompts stands for that prompt. A model of the
        ``Instruct: …\\nQuery:`` form gets the instruction in it, another one as it is.
        """
        if not instruction:
            return self.default_prompt
        if instruction in self.prompts:
            return self.prompts[instruction]
        if self.query_suffix is not None:
            return f"Instruct: {instruction}\n{self.query_suffix}"
        return instruction if instruction[-1].isspace() else instruction + " "


def read_settings(folder: Path | None, *, decoder: bool) -> EmbeddingSettings:
    """The settings of the model in ``folder`` (None: a single-file model).

    ``decoder`` says that its attention is causal, which makes the last token the one that
    has seen the text and "Instruct: …\\nQuery:" the usual form of a task. Raises
    ``LoadError`` for damaged files and for stages that are not supported.
    """
    pooling = Pooling.LAST if decoder else Pooling.MEAN
    suffix = "Query:" if decoder else None
    if folder is None or not (folder / "modules.json").is_file():
        return EmbeddingSettings(pooling, query_suffix=suffix)

    modules = _read_json(folder / "modules.json")
    if not isinstance(modules, list):
        raise LoadError(f"{folder / 'modules.json'}: not a list of modules")
    include_prompt = True
    dense: list[DenseSettings] = []
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        stage = _inside(folder, str(module.get("path", "")))
        if kind == "Pooling":
            pooling, include_prompt = _read_pooling(stage / "config.json")
        elif kind == "Dense":
            dense.append(_read_dense(stage))
        elif kind not in ("Transformer", "Normalize"):
            raise LoadError(f"{folder}: sentence-transformers module {kind!r} is not supported")

    transformer = read_object(folder / "sentence_bert_config.json")
    texts = read_object(folder / "config_sentence_transformers.json")
    prompts = {str(k): str(v) for k, v in (texts.get("prompts") or {}).items() if v is not None}
    return EmbeddingSettings(
        pooling,
        max_length=transformer.get("max_seq_length"),
        include_prompt=include_prompt,
        lower_case=bool(transformer.get("do_lower_case", False)),
        prompts=prompts,
        default_prompt=prompts.get(texts.get("default_prompt_name") or "", ""),
        query_suffix=_query_suffix(prompts) or suffix,
        dense=tuple(dense),
        declared=True,
    )


def _query_suffix(prompts: Mapping[str, str]) -> str | None:
    """How the model's own prompts end when they are of the Instruct form."""
    for prompt in prompts.values():
        if match := _INSTRUCT.match(prompt):
            return match["query"]
    return None


def _read_pooling(path: Path) -> tuple[Pooling, bool]:
    """The pooling and ``include_prompt`` of a Pooling module."""
    config = _read_json(path)
    named = config.get("pooling_mode")
    if named is None:
        chosen = [k for k, v in config.items() if k.startswith("pooling_mode_") and v is True]
        poolings = [_POOLING_FLAGS.get(k) for k in chosen]
    else:
        chosen = [named] if isinstance(named, str) else list(named)
        poolings = [_POOLING_NAMES.get(str(k)) for k in chosen]
    if len(poolings) != 1 or poolings[0] is None:
        raise LoadError(
            f"{path}: pooling {', '.join(map(str, chosen)) or 'none'} is not supported; "
            "mean, cls and last-token pooling are"
        )
    return poolings[0], bool(config.get("include_prompt", True))


def _read_dense(folder: Path) -> DenseSettings:
    config = _read_json(folder / "config.json")
    activation = str(config.get("activation_function", "Identity")).rpartition(".")[2]
    return DenseSettings(folder, activation)


def _inside(folder: Path, name: str) -> Path:
    """``folder / name``, refused when it leads out of the folder."""
    path = folder / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise LoadError(f"{folder}: modules.json points outside the folder: {name!r}")
    return path


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, empty when there is none. Raises ``LoadError``."""
    value = _read_json(path) if path.is_file() else {}
    return value if isinstance(value, dict) else {}


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise LoadError(f"{path}: too large for a configuration file")
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError(f"{path}: {error}") from error
