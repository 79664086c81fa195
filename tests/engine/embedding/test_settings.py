"""What folders say about embedding, in the files of sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlxforge.engine.embedding.pooling import load_dense, pooling_spans
from mlxforge.engine.embedding.settings import EmbeddingSettings, read_settings
from mlxforge.engine.errors import LoadError
from mlxforge.engine.request import EmbeddingRequest, Pooling

from .running import embed, tiny_model

TRANSFORMER = {"path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
DENSE = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
NORMALIZE = {"path": "3_Normalize", "type": "sentence_transformers.models.Normalize"}


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_minilm(minilm_folder: Path) -> None:
    settings = read_settings(minilm_folder, decoder=False)
    assert settings == EmbeddingSettings(Pooling.MEAN, max_length=256, declared=True)


def test_folders_that_say_nothing(tmp_path: Path) -> None:
    assert read_settings(tmp_path, decoder=False).pooling is Pooling.MEAN
    assert read_settings(None, decoder=True).pooling is Pooling.LAST
    assert not read_settings(None, decoder=True).declared


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, Pooling.CLS),
        ({"pooling_mode_lasttoken": True, "word_embedding_dimension": 4}, Pooling.LAST),
        ({"pooling_mode": "mean", "embedding_dimension": 4}, Pooling.MEAN),
        ({"pooling_mode": ["lasttoken"]}, Pooling.LAST),
    ],
)
def test_pooling(tmp_path: Path, config: dict[str, Any], pooling: Pooling) -> None:
    files = {"modules.json": [TRANSFORMER, POOLING], "1_Pooling/config.json": config}
    assert read_settings(write(tmp_path, files), decoder=False).pooling is pooling


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"modules.json": "{"}, "modules.json"),
        ({"modules.json": {}}, "not a list"),
        ({"modules.json": [{"path": "1", "type": "x.models.LSTM"}]}, "'LSTM'"),
        ({"modules.json": [{**POOLING, "path": "../../etc"}]}, "outside"),
        ({"modules.json": [{**POOLING, "path": "/etc"}]}, "outside"),
        ({"modules.json": [POOLING]}, "1_Pooling"),
        ({"modules.json": [POOLING], "1_Pooling/config.json": {}}, "none"),
        (
            {
                "modules.json": [POOLING],
                "1_Pooling/config.json": {
                    "pooling_mode_mean_tokens": True,
                    "pooling_mode_max_tokens": True,
                },
            },
            "max_tokens",
        ),
        ({"modules.json": [POOLING], "1_Pooling/config.json": {"pooling_mode": "max"}}, "max"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        read_settings(write(tmp_path, files), decoder=False)


def test_prompts(tmp_path: Path) -> None:
    files = {
        "modules.json": [TRANSFORMER, POOLING, NORMALIZE],
        "1_Pooling/config.json": {"pooling_mode_lasttoken": True, "include_prompt": True},
        "config_sentence_transformers.json": {
            "prompts": {"query": "Instruct: Find passages\nQuery: ", "document": ""},
            "default_prompt_name": None,
        },
    }
    settings = read_settings(write(tmp_path, files), decoder=True)
    assert settings.prompt("") == ""
    assert settings.prompt("query") == "Instruct: Find passages\nQuery: "
    assert settings.prompt("document") == ""
    assert settings.prompt("Find duplicates") == "Instruct: Find duplicates\nQuery: "


def test_prompts_of_encoders(tmp_path: Path) -> None:
    files = {
        "modules.json": [TRANSFORMER, POOLING],
        "1_Pooling/config.json": {"pooling_mode_cls_token": True},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "passage": "passage: "},
            "default_prompt_name": "passage",
        },
    }
    settings = read_settings(write(tmp_path, files), decoder=False)
    assert settings.prompt("") == "passage: "
    assert settings.prompt("query") == "query: "
    assert settings.prompt("Represent this:") == "Represent this: "
    assert settings.prompt("Represent this:\n") == "Represent this:\n"


def test_an_instruction_goes_before_each_text() -> None:
    model = tiny_model(prompts={"query": "w1 w2 "})
    output = embed(model, EmbeddingRequest("r", ("w5", "w1 w2 w5"), instruction="query"))
    plain = embed(model, EmbeddingRequest("r", ("w1 w2 w5", "w8"), instruction=""))
    np.testing.assert_allclose(output.vectors[0], plain.vectors[0], atol=1e-5)
    free = embed(model, EmbeddingRequest("r", ("w5",), instruction="w1 w2"))
    np.testing.assert_allclose(output.vectors[0], free.vectors[0], atol=1e-5)


def test_prompt_left_out_of_the_mean() -> None:
    """INSTRUCTOR's include_prompt: the text sees the prompt, the mean does not."""
    model = tiny_model(prompts={"query": "w1 w2 "}, include_prompt=False)
    request = EmbeddingRequest("r", ("w5 w6",), instruction="query", normalize=False)
    hidden = np.array(model.backbone(mx.array([[2, 5, 6, 9, 10, 3]])))[0]
    np.testing.assert_allclose(embed(model, request).vectors[0], hidden[3:].mean(axis=0), atol=1e-5)


def test_lower_case() -> None:
    model = tiny_model(lower_case=True)
    output = embed(model, EmbeddingRequest("r", ("W5 W6", "w5 w6")))
    np.testing.assert_allclose(output.vectors[0], output.vectors[1], atol=1e-6)


def test_spans() -> None:
    lengths = np.array([1, 4, 9], np.int32)
    starts, stops = pooling_spans(Pooling.MEAN, lengths, prompt_length=4)
    assert starts.tolist() == [0, 0, 4]
    assert stops.tolist() == [1, 4, 9]
    starts, stops = pooling_spans(Pooling.LAST, lengths)
    assert starts.tolist() == [0, 3, 8]


def dense_folder(tmp_path: Path, weight: mx.array, **config: Any) -> Path:
    settings = {"activation_function": "torch.nn.modules.activation.Tanh", **config}
    files = {
        "modules.json": [TRANSFORMER, POOLING, DENSE],
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "2_Dense/config.json": settings,
    }
    write(tmp_path, files)
    stored = {"linear.weight": weight, "linear.bias": mx.full((weight.shape[0],), 0.5)}
    mx.save_safetensors(str(tmp_path / "2_Dense/model.safetensors"), stored)
    return tmp_path


def test_dense_stages(tmp_path: Path) -> None:
    weight = mx.random.normal((6, 4))
    settings = read_settings(dense_folder(tmp_path, weight), decoder=False)
    [stage] = load_dense(settings.dense, 4)
    vectors = mx.random.normal((3, 4))
    expected = np.tanh(np.array(vectors) @ np.array(weight).T + 0.5)
    np.testing.assert_allclose(np.array(stage(vectors)), expected, atol=1e-6)


def test_dense_stages_that_do_not_fit(tmp_path: Path) -> None:
    settings = read_settings(dense_folder(tmp_path, mx.zeros((6, 4))), decoder=False)
    with pytest.raises(LoadError, match="does not fit"):
        load_dense(settings.dense, 5)
    config = {"activation_function": "torch.nn.modules.activation.SELU"}
    settings = read_settings(dense_folder(tmp_path, mx.zeros((6, 4)), **config), decoder=False)
    with pytest.raises(LoadError, match="'SELU'"):
        load_dense(settings.dense, 4)
    (tmp_path / "2_Dense/model.safetensors").unlink()
    settings = read_settings(dense_folder(tmp_path, mx.zeros((6, 4))), decoder=False)
    (tmp_path / "2_Dense/model.safetensors").unlink()
    with pytest.raises(LoadError, match="pickle"):
        load_dense(settings.dense, 4)
