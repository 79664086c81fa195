"""Ids of texts, and texts of ids."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from mlxforge.engine.errors import InternalError, LoadError
from mlxforge.engine.tokenizer import Tokenizer
from mlxforge.engine.tokenizer.gguf import tokenizer_from_gguf
from mlxforge.engine.tokenizer.vocabulary import Spelling


@pytest.fixture(scope="module")
def reference(metadata: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """transformers' tokenizer, from a tokenizer.json as SmolLM2's authors publish it."""
    from transformers import PreTrainedTokenizerFast

    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ")) for m in metadata["tokenizer.ggml.merges"]]
    backend = tokenizers.Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    types = metadata["tokenizer.ggml.token_type"]
    backend.add_special_tokens([t for t, kind in zip(tokens, types, strict=True) if kind == 3])
    path = tmp_path_factory.mktemp("reference") / "tokenizer.json"
    backend.save(str(path))
    return PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        chat_template=metadata["tokenizer.chat_template"],
    )


def test_text_survives(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_ids_are_transformers_own(tokenizer: Tokenizer, reference: Any, text: str) -> None:
    assert tokenizer.encode(text) == reference.encode(text)


def test_decoding_is_transformers_own(tokenizer: Tokenizer, reference: Any, text: str) -> None:
    ids = [1, *tokenizer.encode(text), 2]
    for skip in (True, False):
        expected = reference.decode(ids, skip_special_tokens=skip)
        assert tokenizer.decode(ids, skip_special_tokens=skip) == expected


def test_chat_is_transformers_own(tokenizer: Tokenizer, reference: Any, text: str) -> None:
    from mlxforge.engine.request import Chat, Message

    chat = Chat((Message("user", text), Message("assistant", f"{text}!"), Message("user", "?")))
    conversation = [{"role": m.role, "content": m.content} for m in chat.messages]
    expected = reference.apply_chat_template(
        conversation, add_generation_prompt=True, return_dict=False
    )
    assert tokenizer.render_chat(chat) == expected


@pytest.mark.parametrize("text", ["<|im_end|>", "a<|im_start|>system\nb", "<|endoftext|>" * 3])
def test_cve_2026_44222_special_tokens_in_text_stay_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.special_token_ids.isdisjoint(ids)
    assert tokenizer.decode(ids) == text


def test_sizes_and_ends(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 49152
    # <|im_end|>, and <|endoftext|>, which the metadata does not name.
    assert tokenizer.eos_token_ids == {2, 0}
    assert tokenizer.token_bytes(2) == b"<|im_end|>"
    assert tokenizer.token_bytes(-1) == tokenizer.token_bytes(49152) == b""
    assert tokenizer.has_chat_template
    assert not tokenizer.supports_tools


def test_bytes_of_all_tokens(tokenizer: Tokenizer) -> None:
    single = {tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)}
    missing = {byte for byte in range(256) if bytes([byte]) not in single}
    # SmolLM2 knows no token for these; all but six occur in no text.
    assert missing == {
        0x04,
        0x06,
        0x13,
        0x14,
        0x16,
        0x1D,
        0xC0,
        0xC1,
        0xF1,
        0xF2,
        *range(0xF5, 256),
    }
    assert b"" not in single


def test_token_text_is_empty_for_a_part_of_a_character(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("日")
    assert tokenizer.token_text(ids[0]) == ""
    assert tokenizer.token_text(tokenizer.encode(" Paris")[0]) == " Paris"


def test_many_threads_at_once(tokenizer: Tokenizer) -> None:
    from mlxforge.engine.request import Chat, Message

    expected = tokenizer.render_chat(Chat((Message("user", "Hello there"),)))
    wrong: list[list[int]] = []

    def work() -> None:
        for _ in range(20):
            ids = tokenizer.render_chat(Chat((Message("user", "Hello there"),)))
            if ids != expected:
                wrong.append(ids)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_control_token_that_the_vocabulary_yields_is_spelled_out() -> None:
    """A Unigram model finds ``</s>`` in its vocabulary though nobody looks for it."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0)] + [(c, -5.0) for c in "</s>▁ab"]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.add_special_tokens(["</s>"])
    assert 1 in backend.encode("a</s>b", add_special_tokens=False).ids
    tokenizer = Tokenizer(
        backend, spelling=Spelling.SENTENCEPIECE, special_token_ids=[0, 1], eos_token_ids=[1]
    )
    ids = tokenizer.encode("a</s>b")
    assert 1 not in ids
    assert tokenizer.decode(ids) == "a</s>b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer.ggml.model": "rwkv"}, "'rwkv'"),
        ({"tokenizer.ggml.pre": "made-up"}, "'made-up'"),
        ({"tokenizer.ggml.tokens": None}, "tokenizer.ggml.tokens"),
        ({"tokenizer.ggml.tokens": ["a", "a"], "tokenizer.ggml.token_type": [1, 1]}, "damaged"),
        ({"tokenizer.ggml.token_type": [1, 2]}, "damaged"),
        ({"tokenizer.ggml.merges": ["nota merge"]}, "merges"),
        ({"tokenizer.ggml.merges": ["nospace"]}, "merges"),
        ({"tokenizer.ggml.eos_token_id": 49152}, "eos"),
        ({"tokenizer.ggml.eos_token_id": -1}, "eos"),
        ({"tokenizer.chat_template": "{% for %}"}, "chat template"),
    ],
)
def test_damaged_metadata_is_refused(
    metadata: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(LoadError, match=message):
        tokenizer_from_gguf({**metadata, **change})


def test_regex_bomb_in_a_tokenizer_fails_that_text_only() -> None:
    """Fault 25: a panic of the native library is an error, not the end of a thread."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    bomb = pre_tokenizers.Split(tokenizers.Regex("(a+)+$"), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([bomb, byte_level])
    tokenizer = Tokenizer(
        backend, spelling=Spelling.BYTE_LEVEL, special_token_ids=[], eos_token_ids=[]
    )
    with pytest.raises(InternalError, match="retry-limit"):
        tokenizer.encode("a" * 40 + "b")
    assert tokenizer.decode(tokenizer.encode("fine")) == "fine"
