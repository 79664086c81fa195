"""The one check of a request's field values, for every door and every process.

It needs no model, no protobuf and no MLX, so that the doors run it before any work and
a worker can run it again on what it was sent. What needs the model (ids below the width
of the logits, the prompt's length in tokens) the engine checks itself.

Every function returns all violations it finds, with paths as the schema spells them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import FieldViolation, InvalidRequest
from .limits import DEFAULT_LIMITS, Limits
from .request import (
    Chat,
    Constraint,
    ConstraintKind,
    EmbeddingRequest,
    GenerationRequest,
    Message,
    SamplingParams,
    ToolCall,
    ToolChoice,
    ToolMode,
)

ROLES = ("system", "developer", "user", "assistant", "tool")
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
UINT32_MAX = 2**32 - 1
UINT64_MAX = 2**64 - 1


class _Violations:
    """Collects violations under a path."""

    def __init__(self) -> None:
        self.found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        self.found.append(FieldViolation(field, description))

    def number(
        self,
        field: str,
        value: float | None,
        low: float,
        high: float,
        *,
        above_low: bool = False,
    ) -> None:
        """``value`` must be unset or a finite number in [low, high], or (low, high]."""
        if value is None:
            return
        inside = low < value <= high if above_low else low <= value <= high
        if not inside:  # NaN is never inside
            bounds = f"above {low:g} and at most {high:g}" if above_low else f"{low:g} to {high:g}"
            self.add(field, f"must be {bounds}, not {value:g}")

    def integer(self, field: str, value: int | None, low: int, high: int) -> None:
        """``value`` must be unset or in [low, high]."""
        if value is not None and not low <= value <= high:
            wanted = f"{low} or more" if value < low and high >= UINT32_MAX else f"{low} to {high}"
            self.add(field, f"must be {wanted}, not {value}")

    def count(self, field: str, items: int, limit: int, noun: str, *, least: int = 0) -> bool:
        """Whether there are ``least`` to ``limit`` items; a violation when not."""
        if least <= items <= limit:
            return True
        self.add(field, f"must have {least} to {limit:,} {noun}, not {items:,}")
        return False

    def length(self, field: str, text: str, limit: int) -> bool:
        """Whether the text is short enough; a violation when not."""
        if len(text) <= limit:
            return True
        self.add(field, f"must have at most {limit:,} characters, not {len(text):,}")
        return False


def check_generation(request: GenerationRequest, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raises ``InvalidRequest`` with everything that is wrong with the request."""
    raise_if_any(generation_violations(request, limits))


def check_embedding(request: EmbeddingRequest, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raises ``InvalidRequest`` with everything that is wrong with the request."""
    raise_if_any(embedding_violations(request, limits))


def raise_if_any(violations: Sequence[FieldViolation]) -> None:
    """Raises ``InvalidRequest`` of the violations, if there are any."""
    if violations:
        raise InvalidRequest(*violations)


def generation_violations(
    request: GenerationRequest, limits: Limits = DEFAULT_LIMITS
) -> list[FieldViolation]:
    """All that is wrong with the values of a request to generate."""
    v = _Violations()
    _check_generation_input(v, request, limits)
    _check_sampling(v, request.sampling_params, limits)
    _check_length(v, request)
    _check_stops(v, request, limits)
    if request.constraint is not None:
        _check_constraint(v, request.constraint, limits)
        if request.chat is not None and _forces_call(request.chat.tool_choice):
            v.add(request.constraint.kind.value, "cannot be combined with a forced tool call")
    v.integer("logprobs", request.logprobs, 0, limits.max_logprobs)
    v.integer("n", request.n, 1, limits.max_n)
    v.length("cache_salt", request.cache_salt, limits.max_cache_salt_chars)
    v.integer("reasoning_params.max_tokens", request.reasoning_max_tokens, 0, UINT32_MAX)
    return v.found


def embedding_violations(
    request: EmbeddingRequest, limits: Limits = DEFAULT_LIMITS
) -> list[FieldViolation]:
    """All that is wrong with the values of a request to embed."""
    v = _Violations()
    v.integer("dimensions", request.dimensions, 1, UINT32_MAX)
    v.length("instruction", request.instruction, limits.max_instruction_chars)
    if not v.count("inputs", len(request.inputs), limits.max_embed_inputs, "inputs", least=1):
        return v.found
    chars = 0
    for i, item in enumerate(request.inputs):
        if isinstance(item, str):
            chars += len(item)
            continue
        _check_ids(v, f"inputs[{i}].token_ids.ids", item, limits)
        if request.instruction:
            v.add(f"inputs[{i}].token_ids", "cannot be combined with an instruction")
    _check_total_chars(v, "inputs", chars, limits)
    return v.found


def text_violations(field: str, text: str, limits: Limits = DEFAULT_LIMITS) -> list[FieldViolation]:
    """What is wrong with a text to tokenize."""
    v = _Violations()
    v.length(field, text, limits.max_input_chars)
    return v.found


def ids_violations(
    field: str, ids: Sequence[int], limits: Limits = DEFAULT_LIMITS, *, least: int = 0
) -> list[FieldViolation]:
    """What is wrong with a list of token ids."""
    v = _Violations()
    _check_ids(v, field, ids, limits, least=least)
    return v.found


def chat_violations(chat: Chat, limits: Limits = DEFAULT_LIMITS) -> list[FieldViolation]:
    """All that is wrong with a conversation, as field ``chat`` of a request."""
    v = _Violations()
    _check_chat(v, chat, limits)
    return v.found


def _check_generation_input(v: _Violations, request: GenerationRequest, limits: Limits) -> None:
    inputs = (request.prompt, request.prompt_token_ids, request.chat)
    if sum(value is not None for value in inputs) != 1:
        v.add("prompt", "exactly one of prompt, prompt_token_ids and chat must be set")
        return
    if request.prompt is not None:
        if not request.prompt:
            v.add("prompt", "must not be empty")
        v.length("prompt", request.prompt, limits.max_input_chars)
    elif request.prompt_token_ids is not None:
        _check_ids(v, "prompt_token_ids.ids", request.prompt_token_ids, limits)
    elif request.chat is not None:
        _check_chat(v, request.chat, limits)


def _check_sampling(v: _Violations, params: SamplingParams, limits: Limits) -> None:
    path = "sampling_params"
    v.number(f"{path}.temperature", params.temperature, 0, 100)
    v.number(f"{path}.top_p", params.top_p, 0, 1, above_low=True)
    v.integer(f"{path}.top_k", params.top_k, 0, UINT32_MAX)
    v.number(f"{path}.min_p", params.min_p, 0, 1)
    v.integer(f"{path}.seed", params.seed, 0, UINT64_MAX)
    v.number(f"{path}.repetition_penalty", params.repetition_penalty, 0, 100, above_low=True)
    v.number(f"{path}.presence_penalty", params.presence_penalty, -2, 2)
    v.number(f"{path}.frequency_penalty", params.frequency_penalty, -2, 2)
    bias_path = f"{path}.logit_bias"
    if v.count(bias_path, len(params.logit_bias), limits.max_logit_bias, "entries"):
        for token_id, bias in params.logit_bias.items():
            v.integer(f"{bias_path}[{token_id}]", token_id, 0, UINT32_MAX)
            v.number(f"{bias_path}[{token_id}]", bias, -100, 100)


def _check_length(v: _Violations, request: GenerationRequest) -> None:
    v.integer("max_tokens", request.max_tokens, 1, UINT32_MAX)
    v.integer("min_tokens", request.min_tokens, 0, UINT32_MAX)
    if request.max_tokens is not None and request.min_tokens > request.max_tokens >= 1:
        v.add(
            "min_tokens",
            f"must be at most max_tokens ({request.max_tokens}), not {request.min_tokens}",
        )


def _check_stops(v: _Violations, request: GenerationRequest, limits: Limits) -> None:
    if v.count("stop", len(request.stop), limits.max_stop, "strings"):
        for i, stop in enumerate(request.stop):
            v.count(f"stop[{i}]", len(stop), limits.max_stop_chars, "characters", least=1)
    if v.count("stop_token_ids", len(request.stop_token_ids), limits.max_stop_token_ids, "ids"):
        for i, token_id in enumerate(request.stop_token_ids):
            v.integer(f"stop_token_ids[{i}]", token_id, 0, UINT32_MAX)


def _check_constraint(v: _Violations, constraint: Constraint, limits: Limits) -> None:
    field = constraint.kind.value
    if constraint.kind is ConstraintKind.CHOICE:
        values = constraint.choices
        if not v.count("choice.values", len(values), limits.max_choices, "texts", least=1):
            return
        if sum(map(len, values)) > limits.max_choices_chars:
            v.add("choice.values", f"must have at most {limits.max_choices_chars:,} characters")
        for i, value in enumerate(values):
            if not value:
                v.add(f"choice.values[{i}]", "must not be empty")
        return
    if constraint.kind is ConstraintKind.JSON_OBJECT:
        return
    if not constraint.source:
        v.add(field, "must not be empty")
        return
    fits = v.length(field, constraint.source, limits.max_constraint_chars)
    if fits and constraint.kind is ConstraintKind.JSON_SCHEMA:
        _check_json(v, field, constraint.source, (dict, bool), "a JSON Schema")


def _check_chat(v: _Violations, chat: Chat, limits: Limits) -> None:
    path = "chat.messages"
    if v.count(path, len(chat.messages), limits.max_messages, "messages", least=1):
        for i, message in enumerate(chat.messages):
            _check_message(v, f"{path}[{i}]", message, limits)
    _check_tools(v, chat, limits)
    _check_tool_choice(v, chat)
    _check_template_kwargs(v, chat.template_kwargs, limits)
    _check_total_chars(v, "chat", _chat_chars(chat), limits)


def _check_message(v: _Violations, path: str, message: Message, limits: Limits) -> None:
    role = message.role
    if role not in ROLES:
        v.add(f"{path}.role", f"must be one of {', '.join(ROLES)}, not {_quoted(role)}")
        return
    if role != "assistant":
        if message.tool_calls:
            v.add(f"{path}.tool_calls", "is only for the role assistant")
        if message.reasoning:
            v.add(f"{path}.reasoning", "is only for the role assistant")
    if role != "tool" and message.tool_call_id:
        v.add(f"{path}.tool_call_id", "is only for the role tool")
    # A tool may answer with nothing; an assistant may have only called or thought.
    if not (message.content or role == "tool" or message.tool_calls or message.reasoning):
        v.add(f"{path}.content", "must not be empty")
    v.length(f"{path}.name", message.name, limits.max_name_chars)
    v.length(f"{path}.tool_call_id", message.tool_call_id, limits.max_name_chars)
    calls = message.tool_calls
    if v.count(f"{path}.tool_calls", len(calls), limits.max_tool_calls, "calls"):
        for i, call in enumerate(calls):
            _check_tool_call(v, f"{path}.tool_calls[{i}]", call, limits)


def _check_tool_call(v: _Violations, path: str, call: ToolCall, limits: Limits) -> None:
    v.length(f"{path}.id", call.id, limits.max_name_chars)
    _check_tool_name(v, f"{path}.name", call.name)
    if call.arguments:
        _check_json(v, f"{path}.arguments", call.arguments, (dict,), "a JSON object")


def _check_tools(v: _Violations, chat: Chat, limits: Limits) -> None:
    if not v.count("chat.tools", len(chat.tools), limits.max_tools, "tools"):
        return
    seen: set[str] = set()
    for i, tool in enumerate(chat.tools):
        path = f"chat.tools[{i}]"
        _check_tool_name(v, f"{path}.name", tool.name)
        if tool.name in seen:
            v.add(f"{path}.name", f"{_quoted(tool.name)} is already the name of another tool")
        seen.add(tool.name)
        field = f"{path}.parameters"
        if tool.parameters and v.length(field, tool.parameters, limits.max_constraint_chars):
            _check_json(v, field, tool.parameters, (dict,), "a JSON Schema of an object")


def _check_tool_name(v: _Violations, field: str, name: str) -> None:
    if not TOOL_NAME.fullmatch(name):
        v.add(field, "must be 1 to 64 of the characters a-z, A-Z, 0-9, _ and -")


def _check_tool_choice(v: _Violations, chat: Chat) -> None:
    choice = chat.tool_choice
    if choice.mode is ToolMode.REQUIRED and not chat.tools:
        v.add("chat.tool_choice.mode", "MODE_REQUIRED needs tools")
    if choice.mode is ToolMode.NAMED and choice.name not in {tool.name for tool in chat.tools}:
        v.add("chat.tool_choice.name", f"no tool is named {_quoted(choice.name)}")


def _forces_call(choice: ToolChoice) -> bool:
    return choice.mode in (ToolMode.REQUIRED, ToolMode.NAMED)


def _check_template_kwargs(v: _Violations, kwargs: Mapping[str, Any], limits: Limits) -> None:
    field = "chat.template_kwargs"
    pending: list[tuple[Any, int]] = [(kwargs, 0)]
    values = 0
    while pending:
        value, depth = pending.pop()
        values += 1
        if values > limits.max_template_values:
            v.add(field, f"must have at most {limits.max_template_values:,} values")
            return
        if depth > limits.max_template_depth:
            v.add(field, f"must be nested at most {limits.max_template_depth} deep")
            return
        if isinstance(value, Mapping):
            pending.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, (list, tuple)):
            pending.extend((item, depth + 1) for item in value)
        elif isinstance(value, float) and not math.isfinite(value):
            v.add(field, "must have finite numbers only")
            return


def _check_ids(
    v: _Violations, field: str, ids: Sequence[int], limits: Limits, *, least: int = 1
) -> None:
    if v.count(field, len(ids), limits.max_input_ids, "ids", least=least) and ids:
        low, high = min(ids), max(ids)
        if low < 0 or high > UINT32_MAX:
            v.add(field, f"must be 0 to {UINT32_MAX}, not {low if low < 0 else high}")


def _check_total_chars(v: _Violations, field: str, chars: int, limits: Limits) -> None:
    if chars > limits.max_input_chars:
        v.add(field, f"must have at most {limits.max_input_chars:,} characters, not {chars:,}")


def _chat_chars(chat: Chat) -> int:
    messages = sum(
        len(m.content) + len(m.reasoning) + sum(len(c.arguments) for c in m.tool_calls)
        for m in chat.messages
    )
    return messages + sum(len(t.description) + len(t.parameters) for t in chat.tools)


def _check_json(
    v: _Violations, field: str, text: str, types: tuple[type, ...], wanted: str
) -> None:
    try:
        value = json.loads(text)
    except ValueError as error:
        v.add(field, f"must be {wanted} as JSON text: {error}")
    except RecursionError:
        v.add(field, "is nested too deep")
    else:
        if not isinstance(value, types):
            v.add(field, f"must be {wanted}, not {type(value).__name__}")


def _quoted(text: str, limit: int = 64) -> str:
    """The text for a message, cut so that an answer never grows with the request."""
    return repr(text if len(text) <= limit else text[:limit] + "…")
