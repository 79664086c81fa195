"""Everything that can be asked and answered arrives as it was sent; garbage does not."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.errors import (
    EngineError,
    FieldViolation,
    InternalError,
    InvalidRequest,
    ResourceExhausted,
    Unavailable,
)
from mlxforge.engine.limits import Limits
from mlxforge.engine.output import (
    Capability,
    Finish,
    FinishReason,
    ModelInfo,
    RequestOutput,
    Timings,
    TokenLogprobs,
    ToolCallDelta,
    Usage,
)
from mlxforge.engine.request import (
    Chat,
    Constraint,
    ConstraintKind,
    EmbeddingRequest,
    GenerationRequest,
    Message,
    Pooling,
    SamplingParams,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from mlxforge.engine.stats import EngineStats
from mlxforge.service.worker import messages as m

from ..fakes import all_errors

CHAT = Chat(
    messages=(
        Message("user", "Grüße 🌍\0", name="Zoë"),
        Message("assistant", tool_calls=(ToolCall("1", "f", '{"a": 1}'),), reasoning="hm"),
        Message("tool", "2", tool_call_id="1"),
    ),
    tools=(Tool("f", "does", '{"type": "object"}'),),
    tool_choice=ToolChoice(ToolMode.NAMED, "f"),
    template_kwargs={"think": True, "nested": {"list": [1, 2.5, None, "x"]}},
    add_generation_prompt=False,
)
GENERATION = GenerationRequest(
    "r1",
    chat=CHAT,
    sampling_params=SamplingParams(0.0, 0.9, 5, 0.1, 2**64 - 1, 1.1, -2.0, 2.0, {7: -100.0}),
    max_tokens=2**32 - 1,
    stop=("a", "b"),
    stop_token_ids=(0, 2**31),
    constraint=Constraint(ConstraintKind.CHOICE, choices=("yes", "no")),
    logprobs=20,
    n=3,
    reasoning_enabled=False,
    deadline=123.456,
)
OUTPUT = RequestOutput(
    "r1",
    2,
    "text",
    "thought",
    (1, 2),
    (TokenLogprobs(1, -0.5, ((1, -0.5), (2, float("-inf"))), ("a", "")),),
    (ToolCallDelta(0, "id", "f", "{}"),),
    Finish(FinishReason.STOP, Usage(1, 2, 3, 4), Timings(0.1, 0.2, 0.3), "stop"),
)
INFO = ModelInfo(
    "id", "llama", "f32", frozenset({Capability.CHAT}), 2**40, 1, 2, 3, 4, 5, 6, 7, "cls", 8
)


def there(decoder: Any, message: Any) -> Any:
    """The message at the other end."""
    [found] = decoder.decode(msgspec.msgpack.encode([message]))
    assert type(found) is type(message)
    return found


@pytest.mark.parametrize(
    "message",
    [
        m.Load("source", "id", EngineConfig(memory_budget=3, max_tokens=7), Limits(max_n=2), 20),
        m.Generate(1, GENERATION),
        m.Generate(2, GenerationRequest("r2", prompt_token_ids=(1, 2, 3), max_tokens=1)),
        m.Embed(3, EmbeddingRequest("e", ("text", (1, 2)), Pooling.CLS, 64, deadline=1.0)),
        m.Tokenize(4, "text", True),
        m.Tokenize(5, CHAT, False),
        m.Detokenize(6, (1, 2), False),
        m.Abort(7),
        m.Close(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_the_front_says_arrives(message: Any) -> None:
    assert there(m.to_worker, message) == message


@pytest.mark.parametrize(
    "message",
    [
        m.Loading("weights", 2**40, 2**41),
        m.Loaded(INFO),
        m.piece_of(1, OUTPUT),
        m.Piece(1, 0, "a", (5,)),
        m.Vectors(2, bytes(range(256))),
        m.Embedded(2, (True, False), 9),
        m.Tokens(3, (1, 2), ("a", "b")),
        m.Text(4, "text"),
        m.Beat(True, 0.5, EngineStats(running=3, step_seconds=1.5)),
        m.Log(30, "mlxforge.x", "text"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_the_worker_says_arrives(message: Any) -> None:
    assert there(m.to_front, message) == message


def test_outputs_arrive() -> None:
    finishes = (None, Finish(FinishReason.LENGTH, Usage(), Timings(), matched_stop=13))
    outputs = [OUTPUT, *(RequestOutput("r1", i, finish=f) for i, f in enumerate(finishes))]
    pieces = [there(m.to_front, m.piece_of(1, output)) for output in outputs]
    assert [m.output_of("r1", piece) for piece in pieces] == outputs


@pytest.mark.parametrize(
    "error",
    [
        *all_errors(),
        InvalidRequest(FieldViolation("n", "too many"), FieldViolation("stop", "too long")),
        ResourceExhausted("full", reason="QUEUE_FULL", retry_after=None),
        Unavailable("later", reason="MODEL_LOADING", retry_after=2.5),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_arrive(error: EngineError) -> None:
    found = m.error_of(there(m.to_front, m.failure_of(7, error)))
    wanted = type(error) if type(error) is not EngineError else InternalError
    assert type(found) is wanted
    assert (found.message, found.reason) == (error.message, error.reason)
    for name in ("retry_after", "violations"):
        assert getattr(found, name, None) == getattr(error, name, None)


def test_own_errors_arrive_as_their_base() -> None:
    class OwnError(ResourceExhausted):
        reason = "OWN"

    found = m.error_of(m.failure_of(1, OwnError("x")))
    assert type(found) is ResourceExhausted and found.reason == "OWN"


WRONG = [
    b"",
    b"\xc1",
    b"\xdd\xff\xff\xff\xff",  # an array of 4 G elements
    b"\x91\x93\x14\x01\xc6\xff\xff\xff\xff",  # Vectors of 4 GiB
    b"\x91\x92\x02\x01",  # Generate without its request
    b"\x91\x92\x63\x01",  # of no known kind
    b"\x91\x92\x06\xa1x",  # Abort of a text
    b"\x91\x92\x17\xc4\x01\x00",
    b"\x91" * 100_000,
]


@pytest.mark.parametrize("data", WRONG, ids=range(len(WRONG)))
def test_garbage_is_refused(data: bytes) -> None:
    for decoder in (m.to_worker, m.to_front):
        with pytest.raises((msgspec.MsgspecError, RecursionError)):
            decoder.decode(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_messages_never_raise_anything_else(data: st.DataObject) -> None:
    frame = bytearray(
        msgspec.msgpack.encode([m.Generate(1, GENERATION), m.piece_of(2, OUTPUT), m.Loaded(INFO)])
    )
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(frame) - 1))
        frame[place] = data.draw(st.integers(0, 255))
    cut = frame[: data.draw(st.integers(0, len(frame)))]
    for decoder in (m.to_worker, m.to_front):
        for damaged in (frame, cut):
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                decoder.decode(damaged)
