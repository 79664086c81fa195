"""What is found out of a model's tokenizer, configuration and templates."""

from __future__ import annotations

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from mlxforge.engine.tokenizer import Tokenizer
from mlxforge.engine.tokenizer.vocabulary import Spelling
from mlxforge.engine.tools import ModelFormat

TEMPLATES = {
    "json_tools": "<tool_call>{{ tool_call.name }}</tool_call>{% if enable_thinking %}{% endif %}",
    "qwen3_coder": "<tool_call>\n<function=x>",
    "minimax_m2": "<minimax:tool_call>",
    "gemma4": "<|tool_call>x<tool_call|>",
    "function_gemma": "<start_function_call>",
    "longcat": "<longcat_tool_call>",
    "glm47": "<tool_call><arg_key>",
    "pythonic": "<|tool_call_start|>",
    "kimi_k2": "<|tool_calls_section_begin|>",
    "minicpm5": '<function name="f"><param name="p">',
    "mistral": "[TOOL_CALLS]",
    "muse_spark": "<atem:function_calls>",
    "harmony": "<|start|>assistant<|channel|>final<|message|>",
    "llama3_json": 'Environment: ipython {"name": x, "parameters": y}',
}


def tokenizer(template: str | None, *marks: str) -> Tokenizer:
    vocabulary = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    added = [
        tokenizers.AddedToken(mark, special=True, normalized=False) for mark in ("<eos>", *marks)
    ]
    backend.add_tokens(added)
    return Tokenizer(
        backend,
        spelling=Spelling.BYTE_LEVEL,
        special_token_ids=[256],
        eos_token_ids=[256],
        chat_templates={"default": template} if template is not None else None,
    )


@pytest.mark.parametrize("name", TEMPLATES)
def test_syntax_from_the_template(name: str) -> None:
    source = tokenizer("{% raw %}" + TEMPLATES[name] + "{% endraw %}")
    found = ModelFormat.detect(source).syntax
    assert found is not None and found.name == name
    source.close()


def test_the_configuration_has_the_last_word() -> None:
    source = tokenizer("{% raw %}[TOOL_CALLS]{% endraw %}")
    found = ModelFormat.detect(source, {"tool_parser_type": "laguna"}).syntax
    assert found is not None and found.name == "laguna"
    source.close()


def test_reasoning_and_its_tokens() -> None:
    template = "{{ '<think>' if enable_thinking else '<think></think>' }}"
    source = tokenizer(template, "<think>", "</think>")
    form = ModelFormat.detect(source)
    assert form.reasoning is not None and form.reasons
    assert form.reasoning_end_ids == (258,)
    assert form.lead_in_ids == {257}
    assert form.thinking_switch == "enable_thinking"
    assert {257, 258} <= form.mark_ids
    parser = form.parser(prompt_tail="<|assistant|>\n<think>\n")
    assert parser is not None and parser.in_reasoning
    source.close()


def test_marks_that_are_no_tokens_are_encoded() -> None:
    source = tokenizer("{{ '<think></think>' }}")
    form = ModelFormat.detect(source)
    assert source.decode(form.reasoning_end_ids) == "</think>"
    assert not form.lead_in_ids
    source.close()


def test_harmony_closes_its_thinking_with_a_header() -> None:
    marks = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>")
    source = tokenizer("{{ '<|start|>assistant<|channel|><|message|>' }}", *marks)
    form = ModelFormat.detect(source)
    assert form.is_harmony and form.reasons and form.reasoning is None
    text = source.decode(form.reasoning_end_ids, skip_special_tokens=False)
    assert text == "<|end|><|start|>assistant<|channel|>final<|message|>"
    assert form.mark_ids == {257, 258, 259, 260, 261}
    source.close()


def test_a_plain_model_has_nothing_to_parse() -> None:
    source = tokenizer(None)
    form = ModelFormat.detect(source)
    assert (form.reasoning, form.syntax, form.thinking_switch) == (None, None, None)
    assert form.parser() is None
    source.close()
