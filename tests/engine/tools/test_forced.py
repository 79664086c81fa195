"""Forced calls: whatever is sampled is one call, and its arguments validate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from mlxforge.engine.errors import InvalidRequest
from mlxforge.engine.grammar import GrammarCompiler
from mlxforge.engine.loader import resolve
from mlxforge.engine.loader.gguf_header import read_gguf_header
from mlxforge.engine.request import Chat, Message, Tool, ToolChoice, ToolMode
from mlxforge.engine.tokenizer import Tokenizer
from mlxforge.engine.tokenizer.gguf import tokenizer_from_gguf
from mlxforge.engine.tools import ModelFormat, forced_call, with_instructions
from mlxforge.engine.tools.syntax import SYNTAXES

from ..grammar.walk import walk
from .test_parser import run

REQUIRED = ToolChoice(ToolMode.REQUIRED)
FLAT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "precise": {"type": "boolean"},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
NESTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "where": {
            "anyOf": [{"$ref": "#/$defs/point"}, {"type": "string", "pattern": "^[A-Z]{3}$"}]
        },
        "when": {"type": "string", "format": "date"},
    },
    "required": ["where", "when"],
    "additionalProperties": False,
    "$defs": {
        "point": {
            "type": "object",
            "properties": {"x": {"type": "integer", "maximum": 9}, "y": {"type": "integer"}},
            "required": ["x", "y"],
            "additionalProperties": False,
        }
    },
}
TOOLS = (
    Tool("get_weather", "The weather", json.dumps(FLAT)),
    Tool("find_place", "A place", json.dumps(NESTED)),
    Tool("stop_now"),
)


@pytest.fixture(scope="module")
def tokenizer() -> Iterator[Tokenizer]:
    tokenizer = tokenizer_from_gguf(read_gguf_header(resolve("smollm2-135m-instruct")).metadata)
    yield tokenizer
    tokenizer.close()


@pytest.fixture(scope="module")
def compiler(tokenizer: Tokenizer) -> Iterator[GrammarCompiler]:
    compiler = GrammarCompiler(tokenizer, tokenizer.vocab_size, tokenizer.eos_token_ids)
    yield compiler
    compiler.close()


def model(name: str | None, **token_ids: int) -> ModelFormat:
    syntax = SYNTAXES[name] if name else None
    return ModelFormat(None, syntax, None, (), frozenset(), frozenset(), token_ids)


def check_call(
    compiler: GrammarCompiler, form: ModelFormat, choice: ToolChoice, seed: int
) -> str | None:
    """Sample one call; returns the function's name."""
    forced = forced_call(form, TOOLS, choice)
    assert forced is not None
    grammar = compiler.compile(forced.template, forced.token_ids)
    output = walk(grammar, seed, patience=25)
    if output is None:
        return None
    parser = form.parser(TOOLS, syntax=forced.syntax)
    assert parser is not None and not parser.in_reasoning
    text, reasoning, calls = run(parser, output.decode(), 7)
    assert (text, reasoning, len(calls)) == ("", "", 1), output
    name, arguments = calls[0]
    tool = next(tool for tool in TOOLS if tool.name == name)
    schema = json.loads(tool.parameters or '{"maxProperties": 0}')
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(json.loads(arguments))
    assert isinstance(json.loads(arguments), dict)
    return name


@pytest.mark.parametrize("name", sorted(SYNTAXES))
def test_every_syntax_validates(compiler: GrammarCompiler, name: str) -> None:
    form = model(name)
    called = {check_call(compiler, form, REQUIRED, seed) for seed in range(5)}
    for tool in TOOLS:
        choice = ToolChoice(ToolMode.NAMED, tool.name)
        assert check_call(compiler, form, choice, 5) in (tool.name, None)
    assert len(called - {None}) >= 1


@pytest.mark.parametrize("name", sorted(SYNTAXES))
def test_flat_parameters_use_the_own_syntax(name: str) -> None:
    forced = forced_call(model(name), TOOLS[:1], REQUIRED)
    assert forced is not None and forced.syntax.name == name
    assert not forced.needs_instructions or name == "bare_json"


def test_models_without_a_syntax_are_told_in_a_message(compiler: GrammarCompiler) -> None:
    choice = ToolChoice(ToolMode.NAMED, "get_weather")
    forced = forced_call(model(None), TOOLS, choice)
    assert forced is not None and forced.needs_instructions
    chat = Chat((Message("user", "Weather in Rome?"),), TOOLS, choice)
    told = with_instructions(chat)
    assert told.tools == () and told.messages[0].role == "system"
    assert "get_weather" in told.messages[0].content
    assert "find_place" not in told.messages[0].content
    assert check_call(compiler, model(None), choice, 3) == "get_weather"


def test_control_tokens_are_placed_as_tokens(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    """A mark that is one token of the model is that token, not its characters."""
    form = model("json_tools", **{"<tool_call>": 7, "</tool_call>": 8})
    forced = forced_call(form, TOOLS[2:], REQUIRED)
    assert forced is not None and forced.token_ids == {7, 8}
    state = compiler.compile(forced.template, forced.token_ids).start()
    state.accept(7)
    for token in tokenizer.encode(
        '\n{"name": "stop_now", "arguments": {}}\n', add_special_tokens=False
    ):
        state.accept(token)
    assert not state.can_end
    state.accept(8)
    assert state.complete


@pytest.mark.parametrize("mode", [ToolMode.AUTO, ToolMode.NONE])
def test_nothing_is_forced_otherwise(mode: ToolMode) -> None:
    assert forced_call(model("json_tools"), TOOLS, ToolChoice(mode)) is None


@pytest.mark.parametrize("name", ["json_tools", "qwen3_coder"])
def test_refusals_name_the_tool(compiler: GrammarCompiler, name: str) -> None:
    bad = {"type": "object", "properties": {"a": {"type": "string", "format": "regex"}}}
    tools = (TOOLS[0], Tool("broken", "", json.dumps(bad)))
    forced = forced_call(model(name), tools, REQUIRED)
    assert forced is not None
    with pytest.raises(InvalidRequest) as raised:
        compiler.compile(forced.template, forced.token_ids)
    (violation,) = raised.value.violations
    assert violation.field == "chat.tools[1].parameters"
    assert violation.description.startswith("#/properties/a/format:")
