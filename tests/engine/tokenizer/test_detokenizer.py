"""Text of a growing list of tokens."""

from __future__ import annotations

import random

import pytest

from mlxforge.engine.tokenizer import Detokenizer, Tokenizer


def pieces_of(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer)
    return [*map(detokenizer.add, ids), detokenizer.flush()]


def test_pieces_make_the_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    pieces = pieces_of(tokenizer, ids)
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


def test_characters_come_whole(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("👩‍👩‍👧‍👦")
    assert len(ids) > 4
    for piece in pieces_of(tokenizer, ids):
        piece.encode("utf-8")  # no lone surrogates, no halves
    assert "".join(pieces_of(tokenizer, ids)) == "👩‍👩‍👧‍👦"


@pytest.mark.parametrize("seed", range(20))
def test_random_tokens_equal_their_bytes_decoded_at_once(tokenizer: Tokenizer, seed: int) -> None:
    ids = random.Random(seed).choices(range(tokenizer.vocab_size), k=400)
    kept = [i for i in ids if i not in tokenizer.special_token_ids]
    whole = b"".join(map(tokenizer.token_bytes, kept)).decode("utf-8", "replace")
    assert "".join(pieces_of(tokenizer, ids)) == whole == tokenizer.decode(ids)


def test_unfinished_character_shows_at_the_end_only(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("日")
    first = ids[:1]
    assert len(ids) > 1
    assert pieces_of(tokenizer, first) == ["", "\ufffd"]


def test_special_tokens_and_ids_without_token_are_left_out(tokenizer: Tokenizer) -> None:
    hello = tokenizer.encode("Hello")
    ids = [1, *hello, 2, tokenizer.vocab_size, tokenizer.vocab_size + 5, -1]
    assert "".join(pieces_of(tokenizer, ids)) == "Hello"
