"""What front and worker say to each other: typed messages, as MessagePack.

Serialisation is msgspec's. A step's frame of 128 one-token outputs took, in microseconds on a
2-core x86-64 machine with CPython 3.11 (encoding from and decoding to ``RequestOutput``):

    ================================  ======  ======  =====
    library                           encode  decode  bytes
    ================================  ======  ======  =====
    msgspec 0.22, arrays (used here)      14     232   2435
    msgspec 0.22, dataclasses as maps     24      87  15875
    protobuf 7.36, upb                   236     451   2122
    ================================  ======  ======  =====

Of the arrays' 232 µs, 16 are msgspec's and the rest ``RequestOutput.__init__``, which outputs
merged for a busy stream share. msgspec checks every type and length on the way in, without
allocating by a length that the data only claims.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from mlxforge.engine import errors
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.errors import EngineError, FieldViolation, InvalidRequest
from mlxforge.engine.limits import Limits
from mlxforge.engine.output import Finish, ModelInfo, RequestOutput, TokenLogprobs, ToolCallDelta
from mlxforge.engine.request import Chat, EmbeddingRequest, GenerationRequest
from mlxforge.engine.stats import EngineStats


class Message(msgspec.Struct, array_like=True, gc=False):
    """Base of all messages. ``call`` numbers a request on its connection."""


# From the front.


class Load(Message, tag=1):
    """Load the model; the first message, and sent once."""

    source: str
    model_id: str
    config: EngineConfig
    limits: Limits
    log_level: int


class Generate(Message, tag=2):
    """Answered by ``Piece``s, until every choice has finished, or a ``Failure``."""

    call: int
    request: GenerationRequest


class Embed(Message, tag=3):
    """Answered by ``Vectors`` and then ``Embedded``, or a ``Failure``."""

    call: int
    request: EmbeddingRequest


class Tokenize(Message, tag=4):
    """Answered by ``Tokens`` or a ``Failure``."""

    call: int
    source: str | Chat
    add_special_tokens: bool


class Detokenize(Message, tag=5):
    """Answered by ``Text`` or a ``Failure``."""

    call: int
    token_ids: tuple[int, ...]
    skip_special_tokens: bool


class Abort(Message, tag=6):
    """Nobody waits for the call's answer any more; not answered."""

    call: int


class Close(Message, tag=7):
    """Let go of the model and end the process."""


# From the worker.


class Loading(Message, tag=17):
    """How far the load is; as ``loader.Progress``."""

    phase: str
    done: int
    total: int


class Loaded(Message, tag=18):
    """The model serves."""

    info: ModelInfo


class Piece(Message, tag=19):
    """A ``RequestOutput`` without its request's id."""

    call: int
    index: int
    text: str
    token_ids: tuple[int, ...]
    reasoning: str = ""
    logprobs: tuple[TokenLogprobs, ...] = ()
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish: Finish | None = None


class Vectors(Message, tag=20):
    """The next rows of an embedding: little-endian f32."""

    call: int
    values: bytes


class Embedded(Message, tag=21):
    """The end of an embedding, after its ``Vectors``."""

    call: int
    truncated: tuple[bool, ...]
    prompt_tokens: int


class Tokens(Message, tag=22):
    """Ids and spellings."""

    call: int
    ids: tuple[int, ...]
    texts: tuple[str, ...]


class Text(Message, tag=23):
    """The text of tokens."""

    call: int
    text: str


class ErrorKind(enum.IntEnum):
    """The classes of ``EngineError``, by number."""

    INTERNAL = 0
    INVALID_REQUEST = 1
    MODEL_NOT_FOUND = 2
    UNSUPPORTED = 3
    RESOURCE_EXHAUSTED = 4
    DEADLINE_EXCEEDED = 5
    CANCELLED = 6
    UNAVAILABLE = 7
    LOAD = 8
    UNIMPLEMENTED = 9
    UNAUTHENTICATED = 10
    PERMISSION_DENIED = 11


class Failure(Message, tag=24):
    """The one error a call, or the load (``call`` 0), ended with."""

    call: int
    kind: ErrorKind
    message: str
    reason: str
    retry_after: float | None = None
    violations: tuple[FieldViolation, ...] = ()


class Beat(Message, tag=25):
    """The worker's loop turns. Sent all the time.

    ``stalled``: seconds for which the step under way has run, or work has waited for one.
    """

    healthy: bool
    stalled: float
    stats: EngineStats


class Log(Message, tag=26):
    """A log record; ``text`` has the traceback, if there is one."""

    level: int
    logger: str
    text: str


ToWorker: TypeAlias = Load | Generate | Embed | Tokenize | Detokenize | Abort | Close
Answer: TypeAlias = Piece | Vectors | Embedded | Tokens | Text | Failure
ToFront: TypeAlias = Loading | Loaded | Answer | Beat | Log

to_worker: msgspec.msgpack.Decoder[list[ToWorker]] = msgspec.msgpack.Decoder(list[ToWorker])
to_front: msgspec.msgpack.Decoder[list[ToFront]] = msgspec.msgpack.Decoder(list[ToFront])


_CLASSES: dict[ErrorKind, type[EngineError]] = {
    ErrorKind.INTERNAL: errors.InternalError,
    ErrorKind.INVALID_REQUEST: errors.InvalidRequest,
    ErrorKind.MODEL_NOT_FOUND: errors.ModelNotFound,
    ErrorKind.UNSUPPORTED: errors.Unsupported,
    ErrorKind.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    ErrorKind.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    ErrorKind.CANCELLED: errors.Cancelled,
    ErrorKind.UNAVAILABLE: errors.Unavailable,
    ErrorKind.LOAD: errors.LoadError,
    ErrorKind.UNIMPLEMENTED: errors.Unimplemented,
    ErrorKind.UNAUTHENTICATED: errors.Unauthenticated,
    ErrorKind.PERMISSION_DENIED: errors.PermissionDenied,
}
_KINDS = {cls: kind for kind, cls in _CLASSES.items()}


def failure_of(call: int, error: EngineError) -> Failure:
    """An error as a message: its own class, else its nearest base that has a number."""
    kind = next((_KINDS[cls] for cls in type(error).__mro__ if cls in _KINDS), ErrorKind.INTERNAL)
    return Failure(
        call,
        kind,
        error.message,
        error.reason,
        getattr(error, "retry_after", None),
        error.violations if isinstance(error, InvalidRequest) else (),
    )


def error_of(failure: Failure) -> EngineError:
    """The error that a message stands for."""
    cls = _CLASSES[failure.kind]
    if cls is InvalidRequest:
        return InvalidRequest(*failure.violations)
    if cls is errors.ResourceExhausted:
        return errors.ResourceExhausted(
            failure.message, reason=failure.reason, retry_after=failure.retry_after
        )
    if cls is errors.Unavailable:
        return errors.Unavailable(
            failure.message, reason=failure.reason, retry_after=failure.retry_after or 1.0
        )
    return cls(failure.message, reason=failure.reason)


def piece_of(call: int, output: RequestOutput) -> Piece:
    """An output as a message."""
    return Piece(
        call,
        output.index,
        output.text,
        output.token_ids,
        output.reasoning,
        output.logprobs,
        output.tool_calls,
        output.finish,
    )


def output_of(request_id: str, piece: Piece) -> RequestOutput:
    """A message as an output of a request."""
    return RequestOutput(
        request_id,
        piece.index,
        piece.text,
        piece.reasoning,
        piece.token_ids,
        piece.logprobs,
        piece.tool_calls,
        piece.finish,
    )
