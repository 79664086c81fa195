"""``GenerationService``: what reaches the engine, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mlxforge.engine.errors import InvalidRequest
from mlxforge.engine.limits import DEFAULT_LIMITS
from mlxforge.engine.output import RequestOutput, TokenLogprobs, ToolCallDelta, Usage
from mlxforge.engine.request import ConstraintKind, ToolMode
from mlxforge.service.api import CallContext
from mlxforge.service.api.generation_request import request_of
from mlxforge.service.api.generation_response import Collector, stream_responses, total_usage
from mlxforge.v1 import chat_pb2, generation_pb2

from ..descriptors import descriptor_of
from .fakes import FakeEngine
from .serving import Start

CONTEXT = CallContext("req_1")
Request = generation_pb2.GenerateRequest


def converted(message: Request) -> Any:
    return request_of(message, CONTEXT, DEFAULT_LIMITS)


def test_an_empty_request_has_the_defaults_of_the_schema() -> None:
    request = converted(Request(prompt="x"))
    assert request.max_tokens is None and request.n == 1 and request.logprobs is None
    assert request.add_special_tokens and not request.ignore_eos
    assert request.sampling_params.temperature is None
    assert request.constraint is None and request.reasoning_enabled is None


def test_zeros_that_were_set_are_not_defaults() -> None:
    message = Request(prompt="x", logprobs=0, sampling_params={"temperature": 0, "seed": 0})
    request = converted(message)
    assert request.logprobs == 0
    assert request.sampling_params.temperature == 0 and request.sampling_params.seed == 0


VALUES = {
    "role": "user",
    "json_schema": "{}",
    "parameters": "{}",
    "json_object": True,
    "top_p": 0.5,
    "min_p": 0.5,
    "n": 2,
    "add_special_tokens": False,
    "add_generation_prompt": False,
}
# Chosen by the router, or meaningless without what the dedicated tests set beside them.
ELSEWHERE = {"model", "chat", "tool_choice", "tool_calls", "tool_call_id", "reasoning"}


def _set_one(message: Message, field: FieldDescriptor) -> None:
    """Give a field a valid value that is not its default."""
    name = field.name
    if name == "template_kwargs":
        getattr(message, name)["a"] = True
    elif name == "logit_bias":
        getattr(message, name)[7] = 1.0
    elif field.message_type is not None:
        inner = getattr(message, name).add() if field.is_repeated else getattr(message, name)
        inner.SetInParent() if not field.is_repeated else None
        for wanted in ("role", "content", "name", "values", "ids", "temperature", "enabled"):
            nested = field.message_type.fields_by_name.get(wanted)
            if nested is not None:
                _set_one(inner, nested)
    else:
        scalar = {field.TYPE_STRING: "x", field.TYPE_BOOL: True}.get(field.type, 1)
        value = VALUES.get(name, scalar)
        if field.is_repeated:
            getattr(message, name).append(value)
        else:
            setattr(message, name, value)


def _leaves() -> list[tuple[tuple[str, ...], FieldDescriptor]]:
    request = descriptor_of(Request)
    top: list[tuple[tuple[str, ...], FieldDescriptor]] = [((), f) for f in request.fields]
    for path in ("sampling_params", "reasoning_params", "chat"):
        inner = request.fields_by_name[path].message_type
        assert inner is not None
        top += [((path,), f) for f in inner.fields]
    return [(path, field) for path, field in top if field.name not in ELSEWHERE]


@pytest.mark.parametrize(("path", "field"), _leaves(), ids=lambda v: str(getattr(v, "name", v)))
def test_every_field_of_the_schema_reaches_the_engine(
    path: tuple[str, ...], field: FieldDescriptor
) -> None:
    message = Request(max_tokens=8)
    if path == ("chat",):
        message.chat.messages.add(role="user", content="hello")
    else:
        message.prompt = "hello"
    if field.name == "name":
        message.chat.tools.add(name="x")
    base = converted(message)
    if field.name == "max_tokens" and not path:
        message.max_tokens = 9
    else:
        target: Any = message
        for name in path:
            target = getattr(target, name)
        _set_one(target, field)
    assert converted(message) != base


def test_tool_choice() -> None:
    def mode(tools: bool, **choice: Any) -> Any:
        message = Request()
        message.chat.messages.add(role="user", content="x")
        if tools:
            message.chat.tools.add(name="f")
        message.chat.tool_choice.MergeFrom(chat_pb2.ToolChoice(**choice))
        return converted(message).chat.tool_choice

    assert mode(tools=False).mode is ToolMode.NONE
    assert mode(tools=True).mode is ToolMode.AUTO
    assert mode(tools=True, mode=chat_pb2.ToolChoice.MODE_NONE).mode is ToolMode.NONE
    assert mode(tools=True, mode=chat_pb2.ToolChoice.MODE_REQUIRED).mode is ToolMode.REQUIRED
    named = mode(tools=True, name="f")
    assert (named.mode, named.name) == (ToolMode.NAMED, "f")
    with pytest.raises(InvalidRequest, match=r"chat\.tool_choice\.mode: 77 is not"):
        mode(tools=True, mode=77)


def test_messages_keep_all_their_fields() -> None:
    message = Request()
    turn = message.chat.messages.add(role="assistant", reasoning="hm", name="Ada")
    turn.tool_calls.add(id="call_1", name="f", arguments='{"a": 1}')
    message.chat.messages.add(role="tool", content="2", tool_call_id="call_1")
    first, second = converted(message).chat.messages
    assert (first.role, first.reasoning, first.name) == ("assistant", "hm", "Ada")
    assert first.tool_calls[0].arguments == '{"a": 1}'
    assert (second.content, second.tool_call_id) == ("2", "call_1")


def test_template_kwargs_are_plain_json() -> None:
    message = Request()
    message.chat.messages.add(role="user", content="x")
    message.chat.template_kwargs.update(
        {"flag": True, "count": 3, "half": 0.5, "none": None, "list": [1, {"a": "b"}]}
    )
    kwargs = converted(message).chat.template_kwargs
    assert kwargs == {"flag": True, "count": 3, "half": 0.5, "none": None, "list": [1, {"a": "b"}]}
    assert type(kwargs["count"]) is int


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_template_kwargs_refuse_what_is_no_json(number: float) -> None:
    message = Request()
    message.chat.messages.add(role="user", content="x")
    message.chat.template_kwargs["a"] = number
    with pytest.raises(InvalidRequest, match=r"chat\.template_kwargs"):
        converted(message)


@pytest.mark.parametrize("kind", ConstraintKind)
def test_constraints(kind: ConstraintKind) -> None:
    message = Request(prompt="x")
    if kind is ConstraintKind.CHOICE:
        message.choice.values.extend(["a", "b"])
    else:
        setattr(message, kind.value, True if kind is ConstraintKind.JSON_OBJECT else "{}")
    assert converted(message).constraint.kind is kind


def test_structural_and_value_faults_are_reported_together() -> None:
    message = Request(json_object=False, n=0, sampling_params={"temperature": -1})
    with pytest.raises(InvalidRequest) as caught:
        converted(message)
    assert [v.field for v in caught.value.violations] == [
        "json_object",
        "prompt",
        "sampling_params.temperature",
        "n",
    ]


async def test_generate_answers_with_all_choices(start: Start) -> None:
    client = await start()
    response = await client.generation.Generate(
        Request(prompt="a b c", n=2, max_tokens=3, logprobs=2)
    )
    assert response.id.startswith("req_") and response.model == "fake"
    assert [choice.text for choice in response.choices] == ["a b c", "b c a"]
    assert [choice.index for choice in response.choices] == [0, 1]
    assert [list(choice.token_ids) for choice in response.choices] == [[0, 1, 2]] * 2
    assert [len(entry.top) for entry in response.choices[0].logprobs] == [2, 2, 2]
    assert {c.finish_reason for c in response.choices} == {generation_pb2.FINISH_REASON_LENGTH}
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (3, 6)
    assert response.timings.total_seconds > 0


async def test_stream_generate_sends_pieces_then_the_end(start: Start) -> None:
    client = await start()
    call = client.generation.StreamGenerate(Request(prompt="a b c", n=2, max_tokens=3))
    responses = [response async for response in call]
    assert responses[0].id.startswith("req_") and responses[0].model == "fake"
    assert not any(response.id or response.model for response in responses[1:])
    for index, text in enumerate(["a b c", "b c a"]):
        mine = [response for response in responses if response.index == index]
        assert "".join(response.delta.text for response in mine) == text
        assert [r.WhichOneof("event") for r in mine][-1] == "finish"
        assert [r.WhichOneof("event") for r in mine].count("finish") == 1
        assert mine[-1].finish.usage.completion_tokens == 3


async def test_a_chat_is_a_prompt_too(start: Start) -> None:
    client = await start()
    message = Request(max_tokens=2)
    message.chat.messages.add(role="user", content="x y")
    response = await client.generation.Generate(message)
    assert response.choices[0].text == "x y"


async def test_models_by_name(start: Start) -> None:
    engine = FakeEngine()
    client = await start(engine)
    assert (await client.generation.Generate(Request(model="fake", prompt="a"))).model == "fake"
    assert len(engine.requests) == 1


def test_totals_count_the_prompt_once() -> None:
    usages = [Usage(10, 3, 4, 1), Usage(10, 5, 4, 0)]
    assert total_usage(usages) == Usage(10, 8, 4, 1)


def test_tool_calls_are_put_together() -> None:
    collector = Collector()
    pieces = [
        ToolCallDelta(0, "call_a", "f", '{"x"'),
        ToolCallDelta(1, "call_b", "g", "{}"),
        ToolCallDelta(0, arguments=": 1}"),
    ]
    for piece in pieces:
        collector.add(RequestOutput("r", 0, tool_calls=(piece,)))
    [choice] = collector.response("r", "m").choices
    assert [(c.id, c.name, c.arguments) for c in choice.tool_calls] == [
        ("call_a", "f", '{"x": 1}'),
        ("call_b", "g", "{}"),
    ]


def test_logprobs_carry_the_tokens_texts() -> None:
    entry = TokenLogprobs(5, -0.5, ((5, -0.5), (7, -1.5)), ("a", "a", ""))
    [message] = stream_responses(RequestOutput("r", 0, token_ids=(5,), logprobs=(entry,)))
    [logprobs] = message.delta.logprobs
    assert (logprobs.chosen.token_id, logprobs.chosen.token) == (5, "a")
    assert [(t.token_id, t.token) for t in logprobs.top] == [(5, "a"), (7, "")]


def test_a_piece_without_content_is_no_message() -> None:
    assert list(stream_responses(RequestOutput("r", 0))) == []
