"""How each syntax lays out a call, so that its parser reads back what was written."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlxforge.engine.request import Tool

JsonLayout = Callable[[str], tuple[str, str]]
"""What stands before and behind the arguments' JSON, given the function's name."""


def _object(before: str, after: str, arguments: str = "arguments") -> JsonLayout:
    return lambda name: (f'{before}{{"name": "{name}", "{arguments}": ', f"}}{after}")


def _mistral(tokens: Mapping[str, int]) -> JsonLayout:
    if "[ARGS]" in tokens:
        return lambda name: (f"[TOOL_CALLS]{name}[ARGS]", "")
    return _object("[TOOL_CALLS][", "]")


def _kimi_k2(tokens: Mapping[str, int]) -> JsonLayout:
    return lambda name: (
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.{name}:0"
        "<|tool_call_argument_begin|>",
        "<|tool_call_end|><|tool_calls_section_end|>",
    )


def _kimi_k3(tokens: Mapping[str, int]) -> JsonLayout:
    return lambda name: (
        f'<|open|>tools<|sep|><|open|>call tool="{name}" index="1"<|sep|>'
        '<|open|>json type="object"<|sep|>',
        "<|close|>json<|sep|><|close|>call<|sep|><|close|>tools<|sep|>",
    )


def _harmony(tokens: Mapping[str, int]) -> JsonLayout:
    return lambda name: (
        f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>",
        "",
    )


# By syntax; given the model's control tokens.
JSON_LAYOUTS: dict[str, Callable[[Mapping[str, int]], JsonLayout]] = {
    "bare_json": lambda tokens: _object("", ""),
    "json_tools": lambda tokens: _object("<tool_call>\n", "\n</tool_call>"),
    "llama3_json": lambda tokens: _object("", "", "parameters"),
    "mistral": _mistral,
    "kimi_k2": _kimi_k2,
    "kimi_k3": _kimi_k3,
    "harmony": _harmony,
}


@dataclass(frozen=True, slots=True)
class ParameterLayout:
    """A call that writes each parameter on its own.

    ``call``: what stands around all parameters of a function; ``around``: around one value,
    given its name and whether it is a string without quotes. ``strings``: whether strings are
    written without quotes. ``nested``: whether lists and objects can be written as JSON.
    ``names``, ``keys``: the names that its parser reads. ``empty``: whether it reads calls
    without any parameter.
    """

    call: Callable[[str], tuple[str, str]]
    around: Callable[[str, bool], tuple[str, str]]
    separator: str = ""
    strings: bool = True
    nested: bool = True
    names: str = r"[\w-]+"
    keys: str = r"[\w.-]+"
    empty: bool = True

    def parameter(self, name: str, *, raw: bool) -> tuple[str, str]:
        """What stands around the value of a parameter."""
        return self.around(name, raw)


def _tags(opening: str, closing: str) -> Callable[[str, bool], tuple[str, str]]:
    return lambda name, raw: (opening.replace("{}", name), closing)


def _arg_tags(prefix: str, *, empty: bool = True) -> ParameterLayout:
    return ParameterLayout(
        lambda name: (f"<{prefix}tool_call>{name}", f"</{prefix}tool_call>"),
        _tags(
            f"<{prefix}arg_key>{{}}</{prefix}arg_key><{prefix}arg_value>", f"</{prefix}arg_value>"
        ),
        empty=empty,
    )


PARAMETER_LAYOUTS: dict[str, ParameterLayout] = {
    "qwen3_coder": ParameterLayout(
        lambda name: (f"<tool_call>\n<function={name}>\n", "</function>\n</tool_call>"),
        _tags("<parameter={}>\n", "\n</parameter>\n"),
    ),
    "glm47": _arg_tags(""),
    "laguna": _arg_tags(""),
    "longcat": _arg_tags("longcat_", empty=False),
    "minimax_m2": ParameterLayout(
        lambda name: (
            f'<minimax:tool_call>\n<invoke name="{name}">\n',
            "</invoke>\n</minimax:tool_call>",
        ),
        _tags('<parameter name="{}">', "</parameter>\n"),
    ),
    "minicpm5": ParameterLayout(
        lambda name: (f'<function name="{name}">', "</function>"),
        _tags('<param name="{}">', "</param>"),
    ),
    "muse_spark": ParameterLayout(
        lambda name: (
            f'<atem:function_calls>\n<atem:invoke name="{name}">\n',
            "</atem:invoke>\n</atem:function_calls>",
        ),
        _tags('<atem:parameter name="{}">', "</atem:parameter>\n"),
        strings=False,
    ),
    "pythonic": ParameterLayout(
        lambda name: (f"<|tool_call_start|>[{name}(", ")]<|tool_call_end|>"),
        _tags("{}=", ""),
        separator=", ",
        strings=False,
        names=r"[A-Za-z_]\w*",
        keys=r"[A-Za-z_]\w*",
    ),
    "gemma4": ParameterLayout(
        lambda name: (f"<|tool_call>call:{name}{{", "}<tool_call|>"),
        lambda name, raw: (f'{name}:<|"|>', '<|"|>') if raw else (f"{name}:", ""),
        separator=",",
        nested=False,
        keys=r"\w+",
    ),
    "function_gemma": ParameterLayout(
        lambda name: (f"<start_function_call>call:{name}{{", "}<end_function_call>"),
        lambda name, raw: (f"{name}:<escape>", "<escape>") if raw else (f"{name}:", ""),
        separator=",",
        nested=False,
        names=r"\w+",
        keys=r"\w+",
    ),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function; ``pointer``: its name, escaped for a JSON pointer."""

    name: str
    schema: str
    raw: bool
    required: bool

    @property
    def pointer(self) -> str:
        """The name in a JSON pointer."""
        return self.name.replace("~", "~0").replace("/", "~1")


# Keywords of a function's schema that a list of parameters can express.
_PLAIN = frozenset(
    {"$defs", "$schema", "additionalProperties", "definitions", "description", "properties",
     "required", "title", "type"}
)  # fmt: skip
_SCALARS = frozenset({"integer", "number", "boolean"})


def parameters_of(tool: Tool, layout: ParameterLayout) -> list[Parameter] | None:
    """A function's parameters in order; None when the layout cannot carry them without loss."""
    schema: Any = json.loads(tool.parameters or "{}")
    if not re.fullmatch(layout.names, tool.name, re.ASCII) or schema.keys() - _PLAIN:
        return None
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    if set(required) - properties.keys() or schema.get("type", "object") != "object":
        return None
    if not (required or layout.empty):
        return None
    definitions = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    found = []
    for name, inner in properties.items():
        if not re.fullmatch(layout.keys, name, re.ASCII) or keyword.iskeyword(name):
            return None
        kind = inner.get("type") if isinstance(inner, dict) else None
        nested = layout.nested and kind in ("array", "object")
        if not (kind == "string" or kind in _SCALARS or nested):
            return None
        text = json.dumps({**definitions, **inner})
        if '"$ref": "#"' in text:
            return None
        raw = kind == "string" and layout.strings
        found.append(Parameter(name, text, raw, name in required))
    return found
