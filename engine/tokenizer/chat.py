"""Conversations, as a model's chat template takes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import FieldViolation, InvalidRequest, Unsupported
from ..request import Chat, Message, Tool, ToolMode
from .control import ControlToken, ControlTokens, Guard, strings_in
from .template import TemplateError, TemplateRenderer

DEFAULT_TEMPLATE = "default"
TOOL_TEMPLATE = "tool_use"

# What the engine itself passes to a template, and what templates may expect it to pass.
RESERVED_ARGUMENTS = frozenset(
    (
        "messages", "tools", "documents", "add_generation_prompt", "continue_final_message",
        "bos_token", "eos_token", "unk_token", "pad_token", "chat_template", "tokenize",
        "conversation", "self", "loop", "caller", "varargs", "kwargs",
    )
)  # fmt: skip

_REASONING_NAMES = ("reasoning_content", "thinking", "reasoning")


class ChatFormat:
    """A model's chat templates, with the tokens that only they may place."""

    def __init__(
        self,
        templates: Mapping[str, str],
        control_tokens: Iterable[ControlToken],
        special_texts: Mapping[str, str],
    ) -> None:
        """``special_texts``: ``bos_token`` and the like. Raises ``LoadError``."""
        self._renderer = TemplateRenderer(templates)
        self.sources = dict(templates)
        facts = self._renderer.facts
        self._literals = facts.literals
        self._reserved = RESERVED_ARGUMENTS | facts.globals
        self._special_texts = dict(special_texts)
        self.control_tokens = ControlTokens(control_tokens, facts.literals)
        self.supports_tools = "tools" in facts.variables
        self.variables = facts.variables

    def render(self, chat: Chat) -> tuple[str, Guard]:
        """The text of a conversation, and the guard whose marks are still in it.

        Raises ``InvalidRequest`` when the template refuses or fails, ``Unsupported`` when
        tools are asked for that the template does not know.
        """
        try:
            return self._rendered(chat)
        except RecursionError as error:
            raise InvalidRequest.of("chat", "holds values that are nested too deep") from error

    def close(self) -> None:
        """End the process that renders."""
        self._renderer.close()

    def _rendered(self, chat: Chat) -> tuple[str, Guard]:
        tools = () if chat.tool_choice.mode is ToolMode.NONE else chat.tools
        if tools and not self.supports_tools:
            raise Unsupported("the model's chat template knows no tools", reason="NO_TOOLS")
        self._check_arguments(chat.template_kwargs)
        messages = [self._message(i, message) for i, message in enumerate(chat.messages)]
        functions = [_function(i, tool) for i, tool in enumerate(tools)]
        arguments = dict(chat.template_kwargs)
        strings = [*strings_in([messages, functions, arguments]), *self.sources.values()]
        guard = Guard.for_strings(self.control_tokens, strings)
        if guard is None:
            raise InvalidRequest.of("chat", "holds every private-use character")
        messages = [_guarded(message, guard) for message in messages]
        continued = not chat.add_generation_prompt and bool(messages[-1].get("content"))
        if continued:
            messages[-1]["content"] += guard.end
        context = {
            **self._special_texts,
            **guard(arguments),
            "messages": messages,
            "tools": guard(functions) or None,
            "documents": None,
            "add_generation_prompt": chat.add_generation_prompt,
        }
        text = self._render(context, guard.mark, with_tools=bool(functions))
        return (_cut(text, guard.end) if continued else text), guard

    def _render(self, context: dict[str, Any], mark: str, *, with_tools: bool) -> str:
        use_tools = with_tools and TOOL_TEMPLATE in self.sources
        name = TOOL_TEMPLATE if use_tools else DEFAULT_TEMPLATE
        try:
            return self._renderer.render(name, context, mark)
        except TemplateError as error:
            raise InvalidRequest(_violation(error)) from error

    def _message(self, index: int, message: Message) -> dict[str, Any]:
        """One turn as OpenAI's API spells it, which is what templates expect."""
        path = f"chat.messages[{index}]"
        role = message.role
        if role == "developer" and not self._mentions("developer"):
            role = "system"
        turn: dict[str, Any] = {"role": role, "content": message.content}
        if message.name:
            turn["name"] = message.name
        if message.reasoning:
            names = [n for n in _REASONING_NAMES if self._mentions(n)] or _REASONING_NAMES[:1]
            turn.update(dict.fromkeys(names, message.reasoning))
        if message.tool_call_id:
            turn["tool_call_id"] = message.tool_call_id
        if message.tool_calls:
            turn["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.name,
                        "arguments": _json_object(
                            f"{path}.tool_calls[{i}].arguments", call.arguments
                        ),
                    },
                }
                for i, call in enumerate(message.tool_calls)
            ]
        return turn

    def _mentions(self, word: str) -> bool:
        return any(word in source for source in self.sources.values())

    def _check_arguments(self, arguments: Mapping[str, Any]) -> None:
        for name in arguments:
            if name in self._reserved or not name.isidentifier() or name.startswith("_"):
                raise InvalidRequest.of(
                    f"chat.template_kwargs.{name[:64]}", "is not an argument that can be set"
                )


def _guarded(message: dict[str, Any], guard: Guard) -> dict[str, Any]:
    """The message guarded, but for its role: it is one of a few words, and some templates
    make a control token of it."""
    return {key: value if key == "role" else guard(value) for key, value in message.items()}


def _function(index: int, tool: Tool) -> dict[str, Any]:
    parameters: Any = {"type": "object", "properties": {}}
    if tool.parameters:
        parameters = _json_object(f"chat.tools[{index}].parameters", tool.parameters)
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _json_object(field: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidRequest.of(field, f"must be a JSON object as text: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequest.of(field, "must be a JSON object")
    return value


def _violation(error: TemplateError) -> FieldViolation:
    if error.refused_message is None:
        return FieldViolation("chat", f"the model's chat template failed: {error}")
    about_role = any(word in str(error).lower() for word in ("role", "alternat", "system"))
    field = f"chat.messages[{error.refused_message}]{'.role' if about_role else ''}"
    return FieldViolation(field, f"the model's chat template refuses it: {error}")


def _cut(text: str, end: str) -> str:
    """The text up to the end of the message that is to be continued."""
    at = text.rfind(end)
    if at < 0:
        raise InvalidRequest.of(
            "chat.add_generation_prompt", "the model's chat template leaves out the last message"
        )
    return text[:at]
