"""What a chat asks of its answer: tools to be called, thinking on or off, marks to be read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .errors import InvalidRequest, Unsupported
from .request import Chat, GenerationRequest, Tool, ToolMode
from .tokenizer import Tokenizer
from .tools import ForcedCall, ModelFormat, forced_call, with_instructions


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat as it is rendered, with the call it forces and the tools its answer may call."""

    chat: Chat
    tools: tuple[Tool, ...] = ()
    forced: ForcedCall | None = None


def converse(
    chat: Chat, request: GenerationRequest, tokenizer: Tokenizer, form: ModelFormat
) -> Conversation:
    """Turn the chat of a request into what its template is given.

    Raises ``Unsupported`` for tools or a thinking switch that the model has not, and
    ``InvalidRequest`` for a constraint beside a forced call.
    """
    chat = _with_thinking(chat, request.reasoning_enabled, form)
    if chat.tool_choice.mode is ToolMode.NONE:
        chat = replace(chat, tools=())
    forced = forced_call(form, chat.tools, chat.tool_choice)
    if forced is None:
        if chat.tools and not tokenizer.supports_tools:
            raise Unsupported(
                "the model's chat template knows no tools; force a call with "
                "chat.tool_choice (required, or a tool's name), or choose another model",
                reason="NO_TOOLS",
            )
        return Conversation(chat, chat.tools)
    if request.constraint is not None:
        raise InvalidRequest.of(
            f"{request.constraint.kind}", "cannot be set when chat.tool_choice forces a call"
        )
    tools = chat.tools
    if forced.needs_instructions or not tokenizer.supports_tools:
        chat = with_instructions(chat)
    return Conversation(chat, tools, forced)


def _with_thinking(chat: Chat, enabled: bool | None, form: ModelFormat) -> Chat:
    if enabled is None or not form.reasons:
        return chat
    if form.thinking_switch is None:
        raise Unsupported(
            "the model's chat template has no switch for its thinking; leave "
            "reasoning_params.enabled unset",
            reason="NO_THINKING_SWITCH",
        )
    return replace(chat, template_kwargs={**chat.template_kwargs, form.thinking_switch: enabled})
