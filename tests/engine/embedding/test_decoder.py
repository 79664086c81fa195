"""Decoders as embedders, against vectors computed straight from mlx-lm's hidden states."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import tokenizers

from mlxforge.engine.embedding.decoder import find_backbone
from mlxforge.engine.embedding.model import EmbeddingModel, decoder_model, embedding_model
from mlxforge.engine.errors import Unsupported
from mlxforge.engine.loader import LoadedModel, load_model
from mlxforge.engine.loader.mlx_lm_package import prepare
from mlxforge.engine.request import EmbeddingRequest, Pooling

from .running import embed, tiny_model

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "vocab_size": 97,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {"head_dim": 8, "rope_theta": 10000.0},
    "gemma3_text": {
        "head_dim": 8,
        "sliding_window": 6,
        "sliding_window_pattern": 2,
        "query_pre_attn_scalar": 8,
    },
    "mamba2": {
        "num_heads": 4,
        "head_dim": 16,
        "state_size": 8,
        "n_groups": 1,
        "expand": 2,
        "conv_kernel": 4,
        "use_bias": False,
        "use_conv_bias": True,
        "time_step_limit": (0.0, 100.0),
        "time_step_rank": 4,
        "time_step_min": 0.001,
        "time_step_max": 0.1,
        "layer_norm_epsilon": 1e-5,
        "ssm_state_size": 8,
        "max_seq_len": 128,
    },
}
TEXTS = [list(range(5, 5 + n)) for n in (1, 3, 11, 24)]


@pytest.fixture(autouse=True)
def no_compiler() -> None:
    """As the engine on a CPU: mx.compile there calls the system's C++ compiler."""
    mx.disable_compile()


def build(family: str) -> Any:
    prepare()
    module = importlib.import_module(f"mlx_lm.models.{family}")
    mx.random.seed(3)
    model = module.Model(
        module.ModelArgs.from_dict({"model_type": family, **SIZES, **FAMILIES[family]})
    )
    mx.eval(model.parameters())
    return model


def plain_tokenizer(end: str | None = None) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer.from_str(tiny_model().inputs._whole.to_str())
    single = f"$A {end}" if end else "$A"
    special = [(end, tokenizer.token_to_id(end))] if end else []
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=single, special_tokens=special
    )
    return tokenizer


def embedder(model: Any, **settings: Any) -> EmbeddingModel:
    arguments = {"end_token": None, "max_length": 128, "vocab_size": 97, **settings}
    tokenizer = arguments.pop("tokenizer", None) or plain_tokenizer()
    return decoder_model(find_backbone(model), tokenizer, None, **arguments)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model("smollm2-135m-instruct")


@pytest.mark.parametrize("family", FAMILIES)
def test_pooling_equals_mlx_lms_hidden_states(family: str) -> None:
    model = build(family)
    ours = embedder(model)
    assert ours.settings.pooling is Pooling.LAST
    assert ours.dimensions == 32
    inputs = tuple(tuple(ids) for ids in TEXTS)
    outputs = {
        pooling: embed(ours, EmbeddingRequest("r", inputs, pooling=pooling)).vectors
        for pooling in (None, Pooling.MEAN, Pooling.CLS)
    }
    for row, ids in enumerate(TEXTS):
        hidden = np.array(find_backbone(model)(mx.array([ids])))[0]
        expected = {None: hidden[-1], Pooling.MEAN: hidden.mean(axis=0), Pooling.CLS: hidden[0]}
        for pooling, vector in expected.items():
            vector = vector / np.linalg.norm(vector)
            np.testing.assert_allclose(outputs[pooling][row], vector, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_the_backbone_is_all_but_the_output_projection(family: str) -> None:
    model = build(family)
    ids = mx.array([TEXTS[2]])
    backbone = find_backbone(model)
    assert mx.allclose(backbone.embed_tokens.as_linear(backbone(ids)), model(ids), atol=1e-5)


def test_end_token() -> None:
    """Appended when the tokenizer does not end texts itself, once, and never to token ids."""
    model = build("llama")
    appended = embedder(model, end_token=3)
    templated = embedder(model, end_token=3, tokenizer=plain_tokenizer("[SEP]"))
    assert templated.inputs.end_token is None
    request = EmbeddingRequest("r", ("w1 w2", (5, 6, 3), ""), truncate=True)
    outputs = [embed(ours, request) for ours in (appended, templated)]
    assert outputs[0].prompt_tokens == outputs[1].prompt_tokens == 3 + 3 + 1
    np.testing.assert_allclose(outputs[0].vectors, outputs[1].vectors, atol=1e-6)
    np.testing.assert_allclose(outputs[0].vectors[0], outputs[0].vectors[1], atol=1e-5)
    short = embedder(model, end_token=3, max_length=4)
    cut = embed(short, EmbeddingRequest("r", ("w1 w2 w3 w4 w5",), truncate=True))
    assert cut.truncated == (True,)
    ids = EmbeddingRequest("r", ((5, 6, 7, 3),))
    np.testing.assert_allclose(cut.vectors, embed(short, ids).vectors, atol=1e-5)


def test_instruction() -> None:
    """Qwen3-Embedding's form: "Instruct: {task}\\nQuery:{text}"."""
    ours = embedder(build("qwen3"))
    _, prompt = ours.rows(EmbeddingRequest("r", ("x",), instruction="Find it"))
    assert prompt == "Instruct: Find it\nQuery:"
    _, prompt = ours.rows(EmbeddingRequest("r", ("x",)))
    assert prompt == ""


def test_models_without_a_backbone() -> None:
    with pytest.raises(Unsupported):
        find_backbone(object())
    with pytest.raises(Unsupported):  # logits are no token vectors
        decoder_model(
            build("llama"), plain_tokenizer(), None, max_length=8, vocab_size=97, end_token=None
        )


def test_bidirectional_decoders_are_refused(loaded: LoadedModel) -> None:
    """EmbeddingGemma as a causal model would give vectors, and they would be wrong."""
    config = {**loaded.config, "use_bidirectional_attention": True}
    with pytest.raises(Unsupported, match="bidirectional"):
        embedding_model(dataclasses.replace(loaded, config=config))


def test_smollm2(loaded: LoadedModel) -> None:
    """A real model from a GGUF file, end to end."""
    ours = embedding_model(loaded)
    texts = ("A man is eating food.", "A man is eating a piece of bread.", "Stock markets fell.")
    vectors = embed(ours, EmbeddingRequest("r", texts, pooling=Pooling.MEAN)).vectors
    end = min(loaded.eos_token_ids)
    for text, vector in zip(texts, vectors, strict=True):
        ids = [*loaded.tokenizer.encode(text, add_special_tokens=False), end]
        hidden = loaded.model.model(mx.array([ids]))[0].astype(mx.float32)
        expected = np.array(hidden.mean(axis=0))
        assert 1 - vector @ expected / np.linalg.norm(expected) < 1e-4
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
