"""The call syntaxes of models, by mlx-lm's names where it has them."""

from __future__ import annotations

import enum
import importlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mlxforge.engine.request import Tool


class Style(enum.Enum):
    """How a call is read."""

    JSON = "json"  # an object with name and arguments between two marks; streamed
    BARE_JSON = "bare_json"  # the same without marks, as the whole answer; streamed
    MISTRAL = "mistral"  # [TOOL_CALLS] and a list of objects, or name[ARGS]{…}; streamed
    CONVERTED = "converted"  # by mlx-lm's tool parser, when the call is closed
    HARMONY = "harmony"  # gpt-oss's channels; streamed


@dataclass(frozen=True, slots=True)
class ToolSyntax:
    """One way to write calls. ``start`` and ``end`` are the marks around them."""

    name: str
    style: Style
    start: str = ""
    end: str = ""


SYNTAXES = {
    syntax.name: syntax
    for syntax in (
        ToolSyntax("json_tools", Style.JSON, "<tool_call>", "</tool_call>"),
        ToolSyntax("llama3_json", Style.BARE_JSON, "<|python_tag|>"),
        ToolSyntax("bare_json", Style.BARE_JSON),
        ToolSyntax("mistral", Style.MISTRAL, "[TOOL_CALLS]"),
        ToolSyntax("harmony", Style.HARMONY),
        ToolSyntax("pythonic", Style.CONVERTED, "<|tool_call_start|>", "<|tool_call_end|>"),
        ToolSyntax("gemma4", Style.CONVERTED, "<|tool_call>", "<tool_call|>"),
        ToolSyntax(
            "function_gemma", Style.CONVERTED, "<start_function_call>", "<end_function_call>"
        ),
        ToolSyntax("glm47", Style.CONVERTED, "<tool_call>", "</tool_call>"),
        ToolSyntax("laguna", Style.CONVERTED, "<tool_call>", "</tool_call>"),
        ToolSyntax("qwen3_coder", Style.CONVERTED, "<tool_call>", "</tool_call>"),
        ToolSyntax(
            "kimi_k2",
            Style.CONVERTED,
            "<|tool_calls_section_begin|>",
            "<|tool_calls_section_end|>",
        ),
        ToolSyntax("kimi_k3", Style.CONVERTED, "<|open|>tools<|sep|>", "<|close|>tools<|sep|>"),
        ToolSyntax("longcat", Style.CONVERTED, "<longcat_tool_call>", "</longcat_tool_call>"),
        ToolSyntax("minicpm5", Style.CONVERTED, "<function name=", "</function>"),
        ToolSyntax("minimax_m2", Style.CONVERTED, "<minimax:tool_call>", "</minimax:tool_call>"),
        ToolSyntax(
            "muse_spark", Style.CONVERTED, "<atem:function_calls>", "</atem:function_calls>"
        ),
    )
}

# Texts in a chat template that tell its syntax, in the order in which they are asked for:
# mlx-lm's inference (tokenizer_utils), with harmony and Llama 3's added.
_IN_TEMPLATE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("harmony", ("<|channel|>", "<|message|>")),
    ("minimax_m2", ("<minimax:tool_call>",)),
    ("gemma4", ("<|tool_call>", "<tool_call|>")),
    ("function_gemma", ("<start_function_call>",)),
    ("longcat", ("<longcat_tool_call>",)),
    ("glm47", ("<arg_key>",)),
    ("pythonic", ("<|tool_list_start|>",)),
    ("pythonic", ("<|tool_call_start|>",)),
    ("qwen3_coder", ("<tool_call>\\n<function=",)),
    ("qwen3_coder", ("<tool_call>\n<function=",)),
    ("kimi_k2", ("<|tool_calls_section_begin|>",)),
    ("minicpm5", ('<function name="', '<param name="')),
    ("mistral", ("[TOOL_CALLS]",)),
    ("muse_spark", ("<atem:function_calls>",)),
    ("json_tools", ("<tool_call>", "tool_call.name")),
    ("json_tools", ("<tool_call>", '"arguments"')),
    ("llama3_json", ('"parameters": ', "Environment: ipython")),
)


def find_syntax(
    tokens: Iterable[str], templates: Iterable[str], configured: str | None
) -> ToolSyntax | None:
    """A model's syntax; ``configured``: what its tokenizer's configuration names."""
    if configured is not None and configured in SYNTAXES:
        return SYNTAXES[configured]
    for template in templates:
        for name, texts in _IN_TEMPLATE:
            if all(text in template for text in texts):
                return SYNTAXES[name]
    known = set(tokens)
    if known.issuperset(("<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>")):
        return SYNTAXES["kimi_k3"]
    if known.issuperset(("<|tool_call_start|>", "<|tool_call_end|>")):
        return SYNTAXES["pythonic"]
    return None


def function_specs(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Tools as OpenAI's API spells them, which is what mlx-lm's parsers look types up in."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": json.loads(tool.parameters or '{"type": "object"}'),
            },
        }
        for tool in tools
    ]


def convert(syntax: ToolSyntax, text: str, tools: Sequence[Tool]) -> list[tuple[str, str]]:
    """Names and JSON arguments of the calls in ``text``, which stands between the marks.

    Raises ``ValueError`` when there are none: mlx-lm's parsers raise many things.
    """
    try:
        module = importlib.import_module(f"mlx_lm.tool_parsers.{syntax.name}")
        found = module.parse_tool_call(text, function_specs(tools))
        calls = found if isinstance(found, list) else [found]
        return [_call(call) for call in calls]
    except Exception as error:
        raise ValueError(f"no call in {syntax.name} syntax: {error}") from error


def _call(call: dict[str, Any]) -> tuple[str, str]:
    name, arguments = call["name"], call.get("arguments", {})
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise ValueError("a call without a name or with arguments that are no object")
    return name, json.dumps(arguments, ensure_ascii=False)
