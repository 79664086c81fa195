"""Vocabularies of the sentencepiece kind: from GGUF, tokenizer.json and tokenizer.model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from mlxforge.engine.errors import LoadError
from mlxforge.engine.request import Chat, Message
from mlxforge.engine.tokenizer import Detokenizer, Tokenizer
from mlxforge.engine.tokenizer.gguf import tokenizer_from_gguf
from mlxforge.engine.tokenizer.huggingface import tokenizer_from_folder, tokenizer_from_json
from mlxforge.engine.tokenizer.spm import merges_from_scores

CORPUS = [
    "The quick brown fox jumps over the lazy dog.",
    "Pack my box with five dozen liquor jugs, said the captain to the crew.",
    "def function(argument):\n    return argument * 2",
    "Größe, Höhe und Länge sind Maße.",
    "the capital of the country is the city where the government is",
] * 40


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["<think>"],
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("spm") / "tokenizer.model"
    path.write_bytes(model.getvalue())
    loaded: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))
    loaded.path = path
    return loaded


def metadata_of(processor: Any) -> dict[str, Any]:
    """What llama.cpp's converter writes for such a model."""
    size = processor.get_piece_size()
    types = [
        2 if processor.is_unknown(i) else 3 if processor.is_control(i)
        else 6 if processor.is_byte(i) else 4 if processor.id_to_piece(i) == "<think>" else 1
        for i in range(size)
    ]  # fmt: skip
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [processor.id_to_piece(i) for i in range(size)],
        "tokenizer.ggml.scores": [processor.get_score(i) for i in range(size)],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": processor.bos_id(),
        "tokenizer.ggml.eos_token_id": processor.eos_id(),
        "tokenizer.ggml.unknown_token_id": processor.unk_id(),
        "tokenizer.chat_template": "{{ bos_token }}[INST] {{ messages[0].content }} [/INST]<think>",
    }


@pytest.fixture(scope="module")
def tokenizer(processor: Any) -> Tokenizer:
    return tokenizer_from_gguf(metadata_of(processor))


def test_ids_are_sentencepieces_own(tokenizer: Tokenizer, processor: Any, text: str) -> None:
    assert tokenizer.encode(text, add_special_tokens=False) == processor.encode(text)


@pytest.mark.parametrize("line", CORPUS[:5])
def test_ids_of_known_text_are_sentencepieces_own(
    tokenizer: Tokenizer, processor: Any, line: str
) -> None:
    assert tokenizer.encode(line) == [processor.bos_id(), *processor.encode(line)]
    assert tokenizer.decode(tokenizer.encode(line)) == line


def test_text_survives(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_leading_space(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the city", add_special_tokens=False)

    def text(continues_text: bool) -> str:
        detokenizer = Detokenizer(tokenizer, continues_text=continues_text)
        return "".join(map(detokenizer.add, ids)) + detokenizer.flush()

    assert (text(True), text(False)) == (" the city", "the city")


@pytest.mark.parametrize("text", ["</s>", "a<s>b", "<think>", "<unk>", "<0x41>", "</s></s> x"])
def test_control_tokens_in_text_stay_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.control_tokens.ids.isdisjoint(ids)
    assert tokenizer.decode(ids) == text
    assert tokenizer.control_tokens.get("<think>") is not None


def test_chat(tokenizer: Tokenizer, processor: Any) -> None:
    plain = tokenizer.render_chat(Chat((Message("user", "the city"),)))
    think = processor.piece_to_id("<think>")
    assert plain[0] == processor.bos_id()
    assert plain[-1] == think
    # The text after a special token starts like any text: this is what llama.cpp's and
    # Hugging Face's converted tokenizers do, and no token of it is a control token.
    dirty = tokenizer.render_chat(Chat((Message("user", "the </s><think> city"),)))
    assert dirty.count(think) == 1
    assert dirty.count(processor.eos_id()) == 0
    assert tokenizer.decode(dirty[1:-1]) == "[INST] the </s><think> city [/INST]"


def test_merges_are_ranked_by_score() -> None:
    scores = {"a": -3.0, "b": -4.0, "ab": -1.0, "abb": -0.5}
    assert merges_from_scores(scores) == [("ab", "b"), ("a", "b")]


def test_scores_that_do_not_fit_are_refused(processor: Any) -> None:
    metadata = metadata_of(processor)
    with pytest.raises(LoadError, match="scores"):
        tokenizer_from_gguf({**metadata, "tokenizer.ggml.scores": [1.0]})


def test_folder_with_a_sentencepiece_model_only(processor: Any, tmp_path: Path) -> None:
    """transformers converts it, without running code of the folder."""
    (tmp_path / "tokenizer.model").write_bytes(processor.path.read_bytes())
    settings = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    tokenizer = tokenizer_from_folder(tmp_path)
    assert tokenizer.eos_token_ids == {processor.eos_id()}
    assert tokenizer.decode(tokenizer.encode("the quick city")) == "the quick city"
    assert processor.eos_id() not in tokenizer.encode("</s>", add_special_tokens=False)


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
def test_metaspace_tokenizer_json(scheme: str) -> None:
    characters = ["▁", *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {c: i for i, c in enumerate(["<unk>", "<s>", "</s>", *characters])}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    backend.add_special_tokens(["<s>", "</s>"])
    plain_ids = backend.encode("hello there").ids
    tokenizer = tokenizer_from_json(
        json.loads(backend.to_str()),
        {"eos_token": "</s>"},
        {"default": "<s>{{ messages[0].content }}</s>tail"},
        (),
    )
    assert tokenizer.encode("hello there") == plain_ids
    assert tokenizer.decode(plain_ids) == "hello there" == backend.decode(plain_ids)
    # A chat tokenizes as the rendered string does, where nothing is spelled in it.
    rendered = backend.encode("<s>hello there</s>tail", add_special_tokens=False).ids
    assert tokenizer.render_chat(Chat((Message("user", "hello there"),))) == rendered
    tokenizer.close()


def test_plain_decoders_are_read_and_unknown_ones_refused() -> None:
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    backend.normalizer = normalizers.Lowercase()
    data = json.loads(backend.to_str())
    assert tokenizer_from_json(data, {}, {}, ()).token_bytes(1) == b"b"
    data["decoder"] = {
        "type": "CTC",
        "pad_token": "a",
        "word_delimiter_token": "b",
        "cleanup": True,
    }
    with pytest.raises(LoadError, match="CTC"):
        tokenizer_from_json(data, {}, {}, ())
