"""The MiniLM model, loaded once."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import pytest
import tokenizers

from mlxforge.engine.embedding.model import EmbeddingModel, build_encoder, encoder_model
from mlxforge.engine.loader import resolve

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    return resolve("all-minilm-l6-v2")


@pytest.fixture(scope="session")
def minilm(minilm_folder: Path) -> EmbeddingModel:
    config = json.loads((minilm_folder / "config.json").read_text())
    weights = mx.load(str(minilm_folder / "model.safetensors"))
    assert isinstance(weights, dict)  # other formats hold one array, or metadata beside them
    tokenizer = tokenizers.Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    return encoder_model(build_encoder(config, weights), tokenizer, minilm_folder)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """The 1,000 texts of the golden vectors."""
    found: list[str] = json.loads((HERE / "texts.json").read_text("utf-8"))
    return found
