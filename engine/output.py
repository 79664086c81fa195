"""What the engine answers: plain values that both doors turn into schema messages."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FinishReason(enum.StrEnum):
    """Why a choice ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log probabilities (natural) of one position: the chosen token and the likeliest.

    ``texts`` are the texts of the chosen token and then of ``top``'s, "" where a token is
    only a part of a character.
    """

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a call; the first of a call has ``id`` and ``name``."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one choice (``prompt_tokens``: of its request)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds since arrival: admission, first token, end."""

    queue: float = 0.0
    time_to_first_token: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a choice. ``matched_stop`` is the stop string or token that ended it."""

    reason: FinishReason
    usage: Usage
    timings: Timings
    matched_stop: str | int | None = None


@dataclass(frozen=True, slots=True)
class RequestOutput:
    """A piece of one choice: what is new since its last one, and its end when set.

    The last piece of a choice carries both the last text and ``finish``.
    """

    request_id: str
    index: int
    text: str = ""
    reasoning: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish: Finish | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingOutput:
    """Vectors of one request, shape (inputs, dimensions), f32, in order of the inputs."""

    request_id: str
    vectors: NDArray[np.float32]
    truncated: tuple[bool, ...]
    prompt_tokens: int


class Capability(enum.StrEnum):
    """Something a model can do."""

    GENERATE = "generate"
    CHAT = "chat"
    TOOLS = "tools"
    REASONING = "reasoning"
    EMBED = "embed"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a loaded model is, can do, and its limits."""

    id: str
    architecture: str
    dtype: str
    capabilities: frozenset[Capability]
    weight_bytes: int
    vocab_size: int
    max_model_len: int
    max_tokens: int
    max_n: int
    max_running_requests: int
    max_waiting_requests: int
    embedding_dimensions: int = 0
    embedding_pooling: str = ""
    max_embed_inputs: int = 0
