"""Extreme values of every field, and the paths by which they are named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from mlxforge.engine.errors import InvalidRequest
from mlxforge.engine.limits import Limits
from mlxforge.engine.request import (
    Chat,
    Constraint,
    ConstraintKind,
    EmbeddingRequest,
    GenerationRequest,
    Message,
    SamplingParams,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from mlxforge.engine.validation import (
    check_embedding,
    check_generation,
    embedding_violations,
    generation_violations,
    ids_violations,
    text_violations,
)

NAN, INF = float("nan"), float("inf")
U32, U64 = 2**32 - 1, 2**64 - 1
BASE = GenerationRequest("id", prompt="hello")
USER = Message("user", "hello")
BASE_CHAT = Chat((USER,))


def fields(request: GenerationRequest) -> list[str]:
    return [violation.field for violation in generation_violations(request)]


SAMPLING: list[tuple[str, list[Any], list[Any]]] = [
    ("temperature", [0.0, 1e-9, 1.0, 100.0], [-1e-9, -1.0, 100.001, NAN, INF, -INF, 1e308]),
    ("top_p", [1e-9, 0.5, 1.0], [0.0, -0.1, 1.0000001, 2.0, NAN, INF]),
    ("top_k", [0, 1, U32], [-1, U32 + 1]),
    ("min_p", [0.0, 1.0], [-0.01, 1.01, NAN, INF]),
    ("seed", [0, U64], [-1, U64 + 1]),
    ("repetition_penalty", [1e-9, 1.0, 100.0], [0.0, -1.0, 101.0, NAN, INF]),
    ("presence_penalty", [-2.0, 0.0, 2.0], [-2.1, 2.1, NAN, INF]),
    ("frequency_penalty", [-2.0, 0.0, 2.0], [-2.1, 2.1, NAN, -INF]),
]


@pytest.mark.parametrize(("name", "good", "bad"), SAMPLING, ids=[row[0] for row in SAMPLING])
def test_sampling_params(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in [None, *good]:
        params = SamplingParams(**{name: value})
        assert fields(replace(BASE, sampling_params=params)) == [], value
    for value in bad:
        params = SamplingParams(**{name: value})
        assert fields(replace(BASE, sampling_params=params)) == [f"sampling_params.{name}"], value


def test_every_scalar_of_sampling_params_is_in_the_table() -> None:
    names = {name for name in SamplingParams.__dataclass_fields__ if name != "logit_bias"}
    assert names == {row[0] for row in SAMPLING}


def test_logit_bias() -> None:
    def bias(entries: dict[int, float]) -> list[str]:
        return fields(replace(BASE, sampling_params=SamplingParams(logit_bias=entries)))

    assert bias({0: -100.0, U32: 100.0}) == []
    assert bias(dict.fromkeys(range(1024), 1.0)) == []
    assert bias(dict.fromkeys(range(1025), 1.0)) == ["sampling_params.logit_bias"]
    for value in (100.1, -100.1, NAN, INF):
        assert bias({7: value}) == ["sampling_params.logit_bias[7]"], value


REQUEST: list[tuple[str, str, list[Any], list[Any]]] = [
    ("max_tokens", "max_tokens", [None, 1, U32], [0, -1, U32 + 1]),
    ("min_tokens", "min_tokens", [0, U32], [-1, U32 + 1]),
    ("stop", "stop", [(), ("x",) * 16], [("x",) * 17, ("x",) * 10_000]),
    ("stop", "stop[0]", [("x" * 256,), ("漢" * 256,)], [("",), ("x" * 257,)]),
    ("stop_token_ids", "stop_token_ids", [(), (0,) * 128, (U32,)], [(0,) * 129, (0,) * 100_000]),
    ("stop_token_ids", "stop_token_ids[0]", [(0,)], [(-1,), (U32 + 1,)]),
    ("logprobs", "logprobs", [None, 0, 20], [-1, 21, U32]),
    ("n", "n", [1, 16], [0, -1, 17, U32]),
    ("cache_salt", "cache_salt", ["", "x" * 128], ["x" * 129]),
    ("reasoning_max_tokens", "reasoning_params.max_tokens", [None, 0, U32], [-1, U32 + 1]),
    ("prompt", "prompt", ["x", "x" * 4 * 2**20], ["", "x" * (4 * 2**20 + 1)]),
]


@pytest.mark.parametrize(("name", "field", "good", "bad"), REQUEST, ids=[r[1] for r in REQUEST])
def test_request_fields(name: str, field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert fields(replace(BASE, **{name: value})) == []
    for value in bad:
        assert fields(replace(BASE, **{name: value})) == [field]


def test_min_tokens_is_at_most_max_tokens() -> None:
    assert fields(replace(BASE, min_tokens=5, max_tokens=5)) == []
    assert fields(replace(BASE, min_tokens=6, max_tokens=5)) == ["min_tokens"]
    assert fields(replace(BASE, min_tokens=6, max_tokens=0)) == ["max_tokens"]


def test_exactly_one_input() -> None:
    assert fields(replace(BASE, prompt=None)) == ["prompt"]
    assert fields(replace(BASE, chat=BASE_CHAT)) == ["prompt"]
    assert fields(replace(BASE, prompt=None, prompt_token_ids=(1,))) == []
    assert fields(replace(BASE, prompt=None, chat=BASE_CHAT)) == []


@pytest.mark.parametrize("ids", [(), (-1,), (U32 + 1,), (0,) * (2**20 + 1)])
def test_prompt_token_ids(ids: tuple[int, ...]) -> None:
    assert fields(replace(BASE, prompt=None, prompt_token_ids=ids)) == ["prompt_token_ids.ids"]


CONSTRAINTS: list[tuple[Constraint, list[str]]] = [
    (Constraint(ConstraintKind.JSON_OBJECT), []),
    (Constraint(ConstraintKind.JSON_SCHEMA, '{"type":"object"}'), []),
    (Constraint(ConstraintKind.JSON_SCHEMA, "true"), []),
    (Constraint(ConstraintKind.JSON_SCHEMA, ""), ["json_schema"]),
    (Constraint(ConstraintKind.JSON_SCHEMA, "{"), ["json_schema"]),
    (Constraint(ConstraintKind.JSON_SCHEMA, "[]"), ["json_schema"]),
    (Constraint(ConstraintKind.JSON_SCHEMA, "[" * 100_000), ["json_schema"]),
    (Constraint(ConstraintKind.JSON_SCHEMA, " " * 2**20), ["json_schema"]),
    (Constraint(ConstraintKind.REGEX, "a*"), []),
    (Constraint(ConstraintKind.REGEX, ""), ["regex"]),
    (Constraint(ConstraintKind.REGEX, "a" * 2**20), ["regex"]),
    (Constraint(ConstraintKind.GRAMMAR, 'start: "a"'), []),
    (Constraint(ConstraintKind.GRAMMAR, ""), ["grammar"]),
    (Constraint(ConstraintKind.CHOICE, choices=("a", "b")), []),
    (Constraint(ConstraintKind.CHOICE, choices=("a",) * 1024), []),
    (Constraint(ConstraintKind.CHOICE), ["choice.values"]),
    (Constraint(ConstraintKind.CHOICE, choices=("a",) * 1025), ["choice.values"]),
    (Constraint(ConstraintKind.CHOICE, choices=("a" * 2**16, "b")), ["choice.values"]),
    (
        Constraint(ConstraintKind.CHOICE, choices=("a", "", "")),
        ["choice.values[1]", "choice.values[2]"],
    ),
]


@pytest.mark.parametrize(("constraint", "expected"), CONSTRAINTS)
def test_constraints(constraint: Constraint, expected: list[str]) -> None:
    assert fields(replace(BASE, constraint=constraint)) == expected


CALL = ToolCall("call_1", "f", "{}")
MESSAGES: list[tuple[Message, str | None]] = [
    (Message("system", "x"), None),
    (Message("developer", "x"), None),
    (Message("assistant", "x", reasoning="y", tool_calls=(CALL,)), None),
    (Message("assistant", "", tool_calls=(CALL,)), None),
    (Message("assistant", "", reasoning="y"), None),
    (Message("tool", "", tool_call_id="call_1"), None),
    (Message("", "x"), "role"),
    (Message("User", "x"), "role"),
    (Message("root" * 1000, "x"), "role"),
    (Message("user", ""), "content"),
    (Message("system", ""), "content"),
    (Message("assistant", ""), "content"),
    (Message("user", "x", name="n" * 257), "name"),
    (Message("user", "x", tool_calls=(CALL,)), "tool_calls"),
    (Message("user", "x", reasoning="y"), "reasoning"),
    (Message("assistant", "x", tool_call_id="y"), "tool_call_id"),
    (Message("tool", "x", tool_call_id="y" * 257), "tool_call_id"),
    (Message("assistant", "x", tool_calls=(CALL,) * 129), "tool_calls"),
    (Message("assistant", "x", tool_calls=(ToolCall("i", "a b", ""),)), "tool_calls[0].name"),
    (Message("assistant", "x", tool_calls=(ToolCall("i" * 257, "f", ""),)), "tool_calls[0].id"),
    (
        Message("assistant", "x", tool_calls=(CALL, ToolCall("", "f", "[1]"))),
        "tool_calls[1].arguments",
    ),
    (Message("assistant", "x", tool_calls=(ToolCall("", "f", "{"),)), "tool_calls[0].arguments"),
    (
        Message("assistant", "x", tool_calls=(ToolCall("", "f", '{"a":' * 50_000),)),
        "tool_calls[0].arguments",
    ),
]


@pytest.mark.parametrize(("message", "bad"), MESSAGES)
def test_messages(message: Message, bad: str | None) -> None:
    found = fields(replace(BASE, prompt=None, chat=Chat((USER, message))))
    assert found == ([f"chat.messages[1].{bad}"] if bad else [])


TOOL = Tool("f", "does", '{"type":"object"}')
CHATS: list[tuple[Chat, str | None]] = [
    (Chat((USER,), (TOOL, Tool("g"))), None),
    (Chat((USER,), tuple(Tool(f"f{i}") for i in range(128))), None),
    (Chat((USER,), (TOOL,), ToolChoice(ToolMode.REQUIRED)), None),
    (Chat((USER,), (TOOL,), ToolChoice(ToolMode.NAMED, "f")), None),
    (Chat(()), "messages"),
    (Chat((USER,) * 4097), "messages"),
    (Chat((Message("user", "x" * 2**21),) * 3), ""),
    (Chat((USER,), tuple(Tool(f"f{i}") for i in range(129))), "tools"),
    (Chat((USER,), (Tool(""),)), "tools[0].name"),
    (Chat((USER,), (Tool("f" * 65),)), "tools[0].name"),
    (Chat((USER,), (Tool("f.g"),)), "tools[0].name"),
    (Chat((USER,), (Tool("f\n"),)), "tools[0].name"),
    (Chat((USER,), (TOOL, TOOL)), "tools[1].name"),
    (Chat((USER,), (Tool("f", "", "[]"),)), "tools[0].parameters"),
    (Chat((USER,), (Tool("f", "", "{"),)), "tools[0].parameters"),
    (Chat((USER,), (Tool("f", "", " " * 2**19),)), "tools[0].parameters"),
    (Chat((USER,), (), ToolChoice(ToolMode.REQUIRED)), "tool_choice.mode"),
    (Chat((USER,), (TOOL,), ToolChoice(ToolMode.NAMED, "h")), "tool_choice.name"),
    (Chat((USER,), (), ToolChoice(ToolMode.NAMED, "")), "tool_choice.name"),
    (Chat((USER,), template_kwargs={"a": [1, {"b": None}]}), None),
    (Chat((USER,), template_kwargs={"a": NAN}), "template_kwargs"),
    (Chat((USER,), template_kwargs={"a": [[INF]]}), "template_kwargs"),
    (Chat((USER,), template_kwargs={"a": [0] * 2000}), "template_kwargs"),
]


@pytest.mark.parametrize(("chat", "bad"), CHATS)
def test_chats(chat: Chat, bad: str | None) -> None:
    expected = [] if bad is None else [f"chat.{bad}".rstrip(".")]
    assert fields(replace(BASE, prompt=None, chat=chat)) == expected


def test_deep_template_kwargs() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    chat = Chat((USER,), template_kwargs={"a": deep})
    assert fields(replace(BASE, prompt=None, chat=chat)) == ["chat.template_kwargs"]
    while isinstance(deep, list):  # or freeing it recurses too deep for C's stack
        deep = deep.pop()


def test_a_forced_call_excludes_a_constraint() -> None:
    chat = Chat((USER,), (TOOL,), ToolChoice(ToolMode.NAMED, "f"))
    request = replace(
        BASE, prompt=None, chat=chat, constraint=Constraint(ConstraintKind.REGEX, "a")
    )
    assert fields(request) == ["regex"]


def test_all_violations_are_reported_at_once() -> None:
    request = replace(
        BASE,
        prompt="",
        sampling_params=SamplingParams(temperature=-1, top_p=2),
        n=0,
        stop=("", "x" * 300),
    )
    with pytest.raises(InvalidRequest) as caught:
        check_generation(request)
    assert [v.field for v in caught.value.violations] == [
        "prompt",
        "sampling_params.temperature",
        "sampling_params.top_p",
        "stop[0]",
        "stop[1]",
        "n",
    ]


def test_descriptions_never_grow_with_the_request() -> None:
    chat = Chat((Message("r" * 2**20, "x"),), (), ToolChoice(ToolMode.NAMED, "n" * 2**20))
    for violation in generation_violations(replace(BASE, prompt=None, chat=chat)):
        assert len(violation.description) < 200


EMBED = EmbeddingRequest("id", ("a", (1, 2)))
EMBEDDINGS: list[tuple[EmbeddingRequest, list[str]]] = [
    (EMBED, []),
    (replace(EMBED, inputs=("",)), []),
    (replace(EMBED, inputs=("x",) * 2048), []),
    (replace(EMBED, inputs=()), ["inputs"]),
    (replace(EMBED, inputs=("x",) * 2049), ["inputs"]),
    (replace(EMBED, inputs=("a", ())), ["inputs[1].token_ids.ids"]),
    (replace(EMBED, inputs=((-1,), "a")), ["inputs[0].token_ids.ids"]),
    (replace(EMBED, inputs=("x" * 2**21,) * 3), ["inputs"]),
    (replace(EMBED, dimensions=1), []),
    (replace(EMBED, dimensions=0), ["dimensions"]),
    (replace(EMBED, inputs=("a",), instruction="i" * 4096), []),
    (replace(EMBED, inputs=("a",), instruction="i" * 4097), ["instruction"]),
    (replace(EMBED, instruction="i"), ["inputs[1].token_ids"]),
]


@pytest.mark.parametrize(("request_", "expected"), EMBEDDINGS)
def test_embeddings(request_: EmbeddingRequest, expected: list[str]) -> None:
    assert [v.field for v in embedding_violations(request_)] == expected
    if expected:
        with pytest.raises(InvalidRequest):
            check_embedding(request_)


def test_limits_are_configurable() -> None:
    limits = Limits(max_n=2, max_stop=1, max_input_chars=3, max_input_ids=2)
    request = replace(BASE, n=3, stop=("a", "b"))
    assert [v.field for v in generation_violations(request, limits)] == ["prompt", "stop", "n"]
    assert [v.field for v in text_violations("text", "abcd", limits)] == ["text"]
    assert [v.field for v in ids_violations("token_ids", [1, 2, 3], limits)] == ["token_ids"]


def test_it_needs_neither_protobuf_nor_mlx() -> None:
    """A worker runs it again, and so does a front process that must not import MLX."""
    code = (
        "import sys, mlxforge.engine.validation;"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('mlx', 'google', 'grpc', 'numpy')];"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
