"""Models of random weights in the shapes that benchmarks use: for speed, never for text."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import tokenizers
from mlx_lm.models import llama

from mlxforge.engine.loader import LoadedModel

# Llama 3.1 8B, Llama 3.2 1B, SmolLM2 135M.
SHAPES: dict[str, dict[str, Any]] = {
    "8b": {
        "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        "tie_word_embeddings": False,
    },
    "1b": {
        "hidden_size": 2048, "num_hidden_layers": 16, "intermediate_size": 8192,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "head_dim": 64,
    },
    "135m": {
        "hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
    },
    "tiny": {
        "hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 512,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 8192,
    },
}  # fmt: skip


class FillerTokenizer(SimpleNamespace):
    """Stands in where a model of random weights has no tokenizer: every token is `x`."""

    def __init__(self, vocab: int) -> None:
        super().__init__(
            # Engines are also built to embed, which looks at the library's own object.
            backend=tokenizers.Tokenizer(tokenizers.models.BPE()),
            byte_table=[b"x"] * vocab,
            special_token_ids=frozenset(),
            eos_token_ids=frozenset(),
            strips_leading_space=False,
            has_chat_template=False,
            supports_tools=False,
            control_tokens=(),
            chat_templates={},
            template_variables=frozenset(),
            vocab_size=vocab,
        )


def random_model(shape: str, dtype: mx.Dtype) -> Any:
    """An mlx-lm Llama of random weights in ``dtype``, evaluated."""
    config = {
        "model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "max_position_embeddings": 131072, **SHAPES[shape],
    }  # fmt: skip
    mx.random.seed(0)
    model = llama.Model(llama.ModelArgs.from_dict(config))
    for layer in (model.model.embed_tokens, *model.layers, model):
        layer.set_dtype(dtype)
        mx.eval(layer.parameters())
    return model


def as_loaded(model: Any, shape: str) -> LoadedModel:
    """``model`` as a load would have given it."""
    from mlx.utils import tree_flatten

    config = SHAPES[shape]
    size = sum(int(value.nbytes) for _, value in tree_flatten(model.parameters()))
    return LoadedModel(
        model=model,
        tokenizer=FillerTokenizer(config["vocab_size"]),  # type: ignore[arg-type]
        config=config,
        generation_config={},
        architecture="llama",
        dtype="bfloat16",
        weight_bytes=size,
        max_model_len=131072,
        vocab_size=config["vocab_size"],
        eos_token_ids=frozenset(),
        path=Path(),
    )
