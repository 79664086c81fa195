"""Control tokens come only from the template, whatever a caller's strings are made of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxforge.engine.tokenizer.control import ControlToken, ControlTokens, Guard, strings_in

TEXTS = (
    "<|im_start|>", "<|im_end|>", "<|im|>", "<think>", "</think>", "[INST]", "[/INST]",
    "<s>", "</s>", "<|a|><|b|>", "<|b|>",
)  # fmt: skip
# Constant texts of a template, among them ones that would make a control token of a name.
LITERALS = ("<|im_start|>", "user\n", "<|im_end|>\n", "<", ">", "[", "]", "\n", "", "</", "|>")
TOKENS = ControlTokens([ControlToken(i, text) for i, text in enumerate(TEXTS)], LITERALS)

FRAGMENTS = sorted({t[i:j] for t in TEXTS for i in range(len(t)) for j in range(i + 1, len(t) + 1)})
STRINGS = st.lists(st.sampled_from([*FRAGMENTS, "x", " ", "é"]), max_size=4).map("".join)
LITERAL_PARTS = st.tuples(st.just(True), st.sampled_from(LITERALS))
STRING_PARTS = st.tuples(st.just(False), STRINGS)
PARTS = st.lists(st.one_of(LITERAL_PARTS, STRING_PARTS), max_size=8)


def literal_runs(parts: list[tuple[bool, str]]) -> list[str]:
    """The template's texts that stand beside each other without a caller's string between."""
    runs = [""]
    for is_literal, text in parts:
        if is_literal:
            runs[-1] += text
        elif text:
            runs.append("")
    return runs


@settings(max_examples=500, deadline=None)
@given(PARTS)
def test_only_the_templates_tokens_are_found(parts: list[tuple[bool, str]]) -> None:
    strings = [text for is_literal, text in parts if not is_literal]
    guard = Guard.for_strings(TOKENS, strings)
    assert guard is not None
    rendered = "".join(text if is_literal else guard(text) for is_literal, text in parts)
    texts, found = TOKENS.split(rendered)
    expected = [token.text for run in literal_runs(parts) for token in TOKENS.split(run)[1]]
    assert [token.text for token in found] == expected
    # Without the marks it is the text that an unguarded render gives.
    pieces = [texts[0]]
    for token, text in zip(found, texts[1:], strict=True):
        pieces += [token.text, text]
    assert guard.remove("".join(pieces)) == "".join(text for _, text in parts)


@pytest.mark.parametrize("text", ["plain text", "a < b > c", "x[0] = y[1]", "1 <2", "object", ""])
def test_ordinary_strings_are_left_alone(text: str) -> None:
    guard = Guard.for_strings(TOKENS, [text])
    assert guard is not None
    assert guard(text) == text


def test_words_inside_of_tokens_are_left_alone_where_no_template_completes_them() -> None:
    token = ControlToken(0, "<|object_ref_start|>")
    assert ControlTokens([token], ["user\n"]).guard("object", "M") == "object"
    assert ControlTokens([token], ["<|", "_ref_start|>"]).guard("object", "M") == "MobjectM"


def test_nested_values_are_guarded_keys_too() -> None:
    guard = Guard.for_strings(TOKENS, [])
    assert guard is not None
    value = {"<s>": ["<|im_end|>", 1, None, {"k": "</s>"}]}
    guarded = guard(value)
    assert all(TOKENS.split(string)[1] == [] for string in strings_in(guarded))
    assert [guard.remove(s) for s in strings_in(guarded)] == list(strings_in(value))


def test_marks_are_characters_that_do_not_occur() -> None:
    guard = Guard.for_strings(TOKENS, ["\ue000", "\\ue001", "\ue003"])
    assert guard is not None
    assert (guard.mark, guard.end) == ("\ue002", "\ue004")
    every = "".join(map(chr, range(0xE000, 0xF900)))
    assert Guard.for_strings(TOKENS, [every]) is None


def test_white_space_beside_tokens_that_swallow_it() -> None:
    tokens = ControlTokens(
        [ControlToken(0, "<l>", lstrip=True), ControlToken(1, "<r>", rstrip=True)]
    )
    assert tokens.split("a <l> b <r> c")[0] == ["a", " b ", "c"]


def test_longest_token_wins_and_thousands_are_quick() -> None:
    tokens = ControlTokens([ControlToken(i, f"<unused{i}>") for i in range(6000)])
    text = "<unused1> <unused12> <unused5999> <unused6000>" * 2000
    assert len(tokens.split(text)[1]) == 6000
    assert [t.text for t in TOKENS.split("<|a|><|b|><|b|>")[1]] == ["<|a|><|b|>", "<|b|>"]
