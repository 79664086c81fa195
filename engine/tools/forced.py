"""Calls that must be made: the grammar of a call in the model's own syntax."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlxforge.engine.grammar.template import GrammarTemplate, TemplateSchema
from mlxforge.engine.request import Chat, Message, Tool, ToolChoice, ToolMode

from .format import ModelFormat
from .lark_text import Marks
from .layouts import JSON_LAYOUTS, PARAMETER_LAYOUTS, JsonLayout, ParameterLayout, parameters_of
from .syntax import SYNTAXES, ToolSyntax

_EMPTY = '{"type": "object", "additionalProperties": false}'


@dataclass(frozen=True, slots=True)
class ForcedCall:
    """A call that must be made.

    ``template``: for ``GrammarCompiler.compile``, with ``token_ids`` as the special tokens it
    may place. ``syntax``: what its text is to be parsed as. ``needs_instructions``: the
    model's template does not describe this syntax, so the conversation must
    (``with_instructions``).
    """

    template: GrammarTemplate
    syntax: ToolSyntax
    token_ids: frozenset[int]
    needs_instructions: bool


def forced_call(model: ModelFormat, tools: Sequence[Tool], choice: ToolChoice) -> ForcedCall | None:
    """What ``choice`` forces; None when nothing. Exactly one call is made.

    Arguments that the model's own syntax cannot carry without loss (types that depend on the
    value, names with other characters than its parser reads) are called for in plain JSON.
    """
    if choice.mode not in (ToolMode.REQUIRED, ToolMode.NAMED) or not tools:
        return None
    wanted = [
        (index, tool)
        for index, tool in enumerate(tools)
        if choice.mode is ToolMode.REQUIRED or tool.name == choice.name
    ]
    own = model.syntax
    if own is not None and own.name in JSON_LAYOUTS:
        return _json_call(own, JSON_LAYOUTS[own.name](model.token_ids), wanted, model)
    if own is not None and own.name in PARAMETER_LAYOUTS:
        found = _parameter_call(own, PARAMETER_LAYOUTS[own.name], wanted, model)
        if found is not None:
            return found
    plain = SYNTAXES["bare_json"]
    made = _json_call(plain, JSON_LAYOUTS[plain.name](model.token_ids), wanted, model)
    return replace(made, needs_instructions=True)


def with_instructions(chat: Chat) -> Chat:
    """The conversation with its tools, and the JSON form of a call, told in a system message.

    For models whose template knows no tools, or not in that form.
    """
    names = [chat.tool_choice.name] if chat.tool_choice.mode is ToolMode.NAMED else None
    lines = ["You can call these functions:"]
    for tool in chat.tools:
        if names is None or tool.name in names:
            parameters = tool.parameters or _EMPTY
            lines.append(f"- {tool.name}: {tool.description}\n  parameters: {parameters}")
    lines.append(
        "Answer with one function call and nothing else, as JSON: "
        '{"name": "<function>", "arguments": {<its parameters>}}'
    )
    text = "\n".join(lines)
    messages = list(chat.messages)
    if messages and messages[0].role in ("system", "developer"):
        messages[0] = replace(messages[0], content=f"{messages[0].content}\n\n{text}")
    else:
        messages.insert(0, Message("system", text))
    return replace(chat, messages=tuple(messages), tools=(), tool_choice=ToolChoice())


def _json_call(
    syntax: ToolSyntax, layout: JsonLayout, tools: list[tuple[int, Tool]], model: ModelFormat
) -> ForcedCall:
    marks = Marks(model.token_ids)
    lines, schemas = [], []
    for number, (index, tool) in enumerate(tools):
        before, after = layout(tool.name)
        lines.append(f"call{number}: {marks.text(before)} @json{number}@ {marks.text(after)}")
        schemas.append(TemplateSchema(_object_schema(tool), f"chat.tools[{index}].parameters"))
    calls = " | ".join(f"call{number}" for number in range(len(tools)))
    lark = "\n".join([f"start: {calls}", *lines]) + "\n"
    template = GrammarTemplate(lark, tuple(schemas))
    return ForcedCall(template, syntax, frozenset(marks.used), needs_instructions=False)


def _object_schema(tool: Tool) -> str:
    """The schema of the arguments, which are an object whether it says so or not."""
    if not tool.parameters:
        return _EMPTY
    schema = json.loads(tool.parameters)
    if isinstance(schema, dict) and schema.get("type") != "object" and "type" not in schema:
        return json.dumps({"type": "object", **schema})
    return tool.parameters


def _parameter_call(
    syntax: ToolSyntax,
    layout: ParameterLayout,
    tools: list[tuple[int, Tool]],
    model: ModelFormat,
) -> ForcedCall | None:
    """A call that names each parameter; None when some tool's do not fit its layout."""
    marks = Marks(model.token_ids)
    lines: list[str] = []
    schemas: list[TemplateSchema] = []
    for number, (index, tool) in enumerate(tools):
        parameters = parameters_of(tool, layout)
        if parameters is None:
            return None
        before, after = layout.call(tool.name)
        rule = f"call{number}p"
        lines.append(f"call{number}: {marks.text(before)} {rule}0 {marks.text(after)}")
        followers: Mapping[bool, str] = {False: "", True: marks.text(layout.separator)}
        for place in range(len(parameters) + 1):
            # Two forms of each rest: none written so far (…0), or some (…0s).
            for some in (False, True):
                name = f"{rule}{place}{'s' if some else ''}"
                if place == len(parameters):
                    lines.append(f'{name}: ""')
                    continue
                parameter = parameters[place]
                opening, closing = layout.parameter(parameter.name, raw=parameter.raw)
                kind = "raw" if parameter.raw else "json"
                value = f"@{kind}{len(schemas)}@"
                written = " ".join(
                    filter(
                        None,
                        (followers[some], marks.text(opening), value, marks.text(closing),
                         f"{rule}{place + 1}s"),
                    )
                )  # fmt: skip
                skipped = f" | {rule}{place + 1}{'s' if some else ''}"
                lines.append(f"{name}: {written}{'' if parameter.required else skipped}")
            if place < len(parameters):
                field = f"chat.tools[{index}].parameters"
                root = f"#/properties/{parameters[place].pointer}"
                schemas.append(TemplateSchema(parameters[place].schema, field, root))
    calls = " | ".join(f"call{number}" for number in range(len(tools)))
    lark = "\n".join([f"start: {calls}", *lines]) + "\n"
    template = GrammarTemplate(lark, tuple(schemas))
    return ForcedCall(template, syntax, frozenset(marks.used), needs_instructions=False)
