"""Models from Hugging Face and MLX folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ..tokenizer import Tokenizer
from ..tokenizer.huggingface import tokenizer_from_folder
from .arrays import dense_dtype, dtype_of, logits_width, materialize
from .classes import mlx_lm_utils, remapped_classes
from .encoders import EncoderBuilder, encoder_builder
from .folder import check_folder, read_config, read_json
from .limits import eos_ids, max_model_len
from .model import LoadedModel
from .progress import Reporter


def load_folder(folder: Path, dtype: mx.Dtype | None, report: Reporter) -> LoadedModel:
    """Load a folder, full precision or quantized. Raises ``LoadError``."""
    check_folder(folder)
    config = read_config(folder)
    builder = encoder_builder(config["model_type"])
    generation = read_json(folder / "generation_config.json", optional=True)
    tokenizer = tokenizer_from_folder(folder, eos_token_ids=eos_ids(config, generation))
    with report.load_errors(folder.name):
        if builder is not None:
            model = _build_encoder(builder, folder, config, dtype)
            vocab_size, length = model.vocab_size, model.max_length
        else:
            model, config = _build_decoder(folder, config, dtype)
            vocab_size, length = logits_width(model, config), max_model_len(config)
        size = materialize(model, report)
    return _loaded(folder, model, tokenizer, config, generation, size, vocab_size, length)


def _loaded(
    folder: Path,
    model: Any,
    tokenizer: Tokenizer,
    config: dict[str, Any],
    generation: dict[str, Any],
    size: int,
    vocab_size: int,
    length: int,
) -> LoadedModel:
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        config=config,
        generation_config=generation,
        architecture=config["model_type"],
        dtype=dtype_of(model),
        weight_bytes=size,
        max_model_len=length,
        vocab_size=vocab_size,
        eos_token_ids=frozenset(i for i in tokenizer.eos_token_ids if i < vocab_size),
        path=folder,
    )


def _build_encoder(
    builder: EncoderBuilder, folder: Path, config: dict[str, Any], dtype: mx.Dtype | None
) -> Any:
    weights: dict[str, mx.array] = {}
    for path in sorted(folder.glob("*.safetensors")):
        stored = mx.load(str(path))
        if isinstance(stored, dict):
            weights.update(stored)
    model = builder(config, weights)
    _convert(model, dtype)
    return model


def _build_decoder(
    folder: Path, config: dict[str, Any], dtype: mx.Dtype | None
) -> tuple[nn.Module, dict[str, Any]]:
    classes = remapped_classes(config)
    utils = mlx_lm_utils()
    model, config = utils.load_model(
        folder, lazy=True, get_model_classes=lambda config: classes, trust_remote_code=False
    )
    if dense_dtype(dtype) is not None:
        model = utils.dequantize_model(model)
    _convert(model, dtype)
    return model, config


def _convert(model: nn.Module, dtype: mx.Dtype | None) -> None:
    wanted = dense_dtype(dtype)
    if wanted is not None:
        model.set_dtype(wanted)
