"""Conversations: schema to engine."""

from __future__ import annotations

from typing import Any

from google.protobuf import struct_pb2

from mlxforge.engine.errors import FieldViolation
from mlxforge.engine.request import Chat, Message, Tool, ToolCall, ToolChoice, ToolMode
from mlxforge.v1 import chat_pb2

_MODES = {
    chat_pb2.ToolChoice.MODE_AUTO: ToolMode.AUTO,
    chat_pb2.ToolChoice.MODE_NONE: ToolMode.NONE,
    chat_pb2.ToolChoice.MODE_REQUIRED: ToolMode.REQUIRED,
}


def chat_of(message: chat_pb2.Chat, violations: list[FieldViolation]) -> Chat:
    """The engine's form of a conversation; what has no such form goes to ``violations``."""
    return Chat(
        messages=tuple(map(_message_of, message.messages)),
        tools=tuple(Tool(t.name, t.description, t.parameters) for t in message.tools),
        tool_choice=_tool_choice_of(message, violations),
        template_kwargs=_struct_of(message.template_kwargs),
        add_generation_prompt=(
            message.add_generation_prompt if message.HasField("add_generation_prompt") else True
        ),
    )


def _message_of(message: chat_pb2.Message) -> Message:
    return Message(
        role=message.role,
        content=message.content,
        name=message.name,
        tool_calls=tuple(ToolCall(c.id, c.name, c.arguments) for c in message.tool_calls),
        tool_call_id=message.tool_call_id,
        reasoning=message.reasoning,
    )


def _tool_choice_of(chat: chat_pb2.Chat, violations: list[FieldViolation]) -> ToolChoice:
    choice = chat.tool_choice
    if choice.WhichOneof("choice") == "name":
        return ToolChoice(ToolMode.NAMED, choice.name)
    default = ToolMode.AUTO if chat.tools else ToolMode.NONE
    if choice.mode == chat_pb2.ToolChoice.MODE_UNSPECIFIED:
        return ToolChoice(default)
    mode = _MODES.get(choice.mode)
    if mode is None:
        violations.append(
            FieldViolation("chat.tool_choice.mode", f"{choice.mode} is not a value of Mode")
        )
    return ToolChoice(mode or default)


def _struct_of(struct: struct_pb2.Struct) -> dict[str, Any]:
    return {name: _value_of(value) for name, value in struct.fields.items()}


def _value_of(value: struct_pb2.Value) -> Any:
    """A JSON value; whole numbers become ints, so that templates print them as such."""
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _struct_of(value.struct_value)
        case "list_value":
            return [_value_of(item) for item in value.list_value.values]
        case _:
            return None
