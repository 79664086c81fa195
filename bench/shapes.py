"""Models of random weights in the shapes that benchmarks use: for speed, never for text.

python -m bench.shapes 8b /tmp/8b    writes one as a folder that `mlxforge serve` loads
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import tokenizers
from mlx_lm.models import llama

from mlxforge.engine.loader import LoadedModel
from mlxforge.engine.tokenizer.control import ControlTokens

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


class WordTokenizer(FillerTokenizer):
    """A made-up vocabulary in which any text can be spelled, for grammars.

    All bytes, the runs that JSON is full of, numbers, and words of syllables with a space
    before them or not: about as many tokens of each length as vocabularies of this size have.
    """

    def __init__(self, vocab: int) -> None:
        super().__init__(vocab)
        self.byte_table = _made_up_tokens(vocab)
        self.control_tokens = ControlTokens(())
        self._ids = {token: place for place, token in enumerate(self.byte_table)}

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for."""
        return self.byte_table[token_id]

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The longest token each time."""
        found, left = [], text.encode()
        while left:
            size = next(n for n in range(min(12, len(left)), 0, -1) if left[:n] in self._ids)
            found.append(self._ids[left[:size]])
            left = left[size:]
        return found


def _made_up_tokens(count: int) -> list[bytes]:
    source = random.Random(11)
    syllables = [a + v + b for a in " bcdfghlmnprstvw" for v in "aeiou" for b in ("", *"lnrst")]
    marks = ('": "', '", "', '":', '",', '{"', '"}', '["', '"]', "  ", ", ", ": ", "\n", "\n  ")
    tokens = dict.fromkeys(bytes([value]) for value in range(256))
    tokens |= dict.fromkeys(mark.encode() for mark in marks)
    tokens |= dict.fromkeys(str(number).encode() for number in range(1000))
    while len(tokens) < count:
        word = "".join(source.choices(syllables, k=source.choice((1, 2, 2, 3)))).replace(" ", "")
        form = source.choice((word, word.capitalize(), f" {word}", f" {word}"))
        tokens[form.encode()[:12]] = None
    return list(tokens)[:count]


def _config(shape: str) -> dict[str, Any]:
    return {
        "model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "max_position_embeddings": 131072, **SHAPES[shape],
    }  # fmt: skip


def random_model(shape: str, dtype: mx.Dtype) -> Any:
    """An mlx-lm Llama of random weights in ``dtype``, evaluated."""
    mx.random.seed(0)
    model = llama.Model(llama.ModelArgs.from_dict(_config(shape)))
    for layer in (model.model.embed_tokens, *model.layers, model):
        layer.set_dtype(dtype)
        mx.eval(layer.parameters())
    return model


def as_loaded(model: Any, shape: str, tokenizer: FillerTokenizer | None = None) -> LoadedModel:
    """``model`` as a load would have given it."""
    from mlx.utils import tree_flatten

    config = SHAPES[shape]
    parameters = tree_flatten(model.parameters())
    assert isinstance(parameters, list)  # a dict comes only where one was given
    size = sum(int(value.nbytes) for _, value in parameters)
    return LoadedModel(
        model=model,
        # It has what an engine asks of a tokenizer and is none.
        tokenizer=tokenizer or FillerTokenizer(config["vocab_size"]),  # type: ignore[arg-type]
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


def write_folder(shape: str, folder: Path, dtype: mx.Dtype) -> None:
    """A model folder of random weights. Its tokenizer reads one token for each byte of text."""
    from mlx.utils import tree_flatten

    folder.mkdir(parents=True, exist_ok=True)
    weights = dict(tree_flatten(random_model(shape, dtype).parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(_config(shape)))
    _write_tokenizer(folder, SHAPES[shape]["vocab_size"])


def _write_tokenizer(folder: Path, vocab: int) -> None:
    # Byte-level spelling has a letter for each byte; a space's is "Ġ". Nothing is merged.
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = [token.decode("latin-1").replace(" ", "Ġ") for token in _made_up_tokens(vocab)]
    spelled = dict.fromkeys([*letters, *(word for word in words if set(word) <= set(letters))])
    spelled |= dict.fromkeys(f"Ġ{number}" for number in range(vocab))
    places = {token: place for place, token in enumerate(list(spelled)[: vocab - 1])}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(places, []))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(["</s>"])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))


def main() -> None:
    """Write the folder that the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    on_gpu = mx.default_device().type == mx.DeviceType.gpu
    write_folder(args.shape, args.folder, mx.bfloat16 if on_gpu else mx.float32)


if __name__ == "__main__":
    main()
