"""What can be asked of the engine: plain values, checked by ``validation``."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are chosen; ``None`` takes the model's default (see the schema)."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)


class ConstraintKind(enum.StrEnum):
    """The forms a constraint can take."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    REGEX = "regex"
    GRAMMAR = "grammar"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a text must conform to.

    ``source`` is the schema, the expression or the grammar; ``choices`` the texts of CHOICE.
    """

    kind: ConstraintKind
    source: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that an assistant's turn made; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str = ""
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; ``parameters`` is a JSON Schema as text."""

    name: str
    description: str = ""
    parameters: str = ""


class ToolMode(enum.StrEnum):
    """Whether tools are called; NAMED goes with ``ToolChoice.name``."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tools are to be called."""

    mode: ToolMode = ToolMode.AUTO
    name: str = ""


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation for the model's chat template."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    add_generation_prompt: bool = True


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request to generate; exactly one of the three inputs is set.

    ``deadline`` is a ``time.monotonic()`` value. ``request_id`` is the engine's own, made
    by the door, never a client's.
    """

    request_id: str
    prompt: str | None = None
    prompt_token_ids: tuple[int, ...] | None = None
    chat: Chat | None = None
    sampling_params: SamplingParams = SamplingParams()
    max_tokens: int | None = None
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    constraint: Constraint | None = None
    logprobs: int | None = None
    n: int = 1
    cache_salt: str = ""
    add_special_tokens: bool = True
    reasoning_enabled: bool | None = None
    reasoning_max_tokens: int | None = None
    deadline: float | None = None


class Pooling(enum.StrEnum):
    """How a text's token vectors become one."""

    MEAN = "mean"
    CLS = "cls"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """One request to embed; each input is a text or token ids.

    ``pooling`` None: the model's own.
    """

    request_id: str
    inputs: tuple[str | tuple[int, ...], ...]
    pooling: Pooling | None = None
    dimensions: int | None = None
    normalize: bool = True
    instruction: str = ""
    truncate: bool = False
    deadline: float | None = None
