"""Constrained output and tool calls of a real model, in the running batch."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.engine import Engine
from mlxforge.engine.errors import InvalidRequest, ResourceExhausted, Unsupported
from mlxforge.engine.output import Finish, FinishReason
from mlxforge.engine.request import (
    Chat,
    Constraint,
    ConstraintKind,
    GenerationRequest,
    Message,
    SamplingParams,
    Tool,
    ToolChoice,
    ToolMode,
)

from . import schemas

WARM = SamplingParams(temperature=0.6, seed=1)


@dataclass
class Answer:
    text: str = ""
    reasoning: str = ""
    calls: list[list[str]] = field(default_factory=list)
    tokens: int = 0
    logprobs: int = 0
    finish: Finish | None = None

    @property
    def reason(self) -> FinishReason:
        assert self.finish is not None
        return self.finish.reason


class Serving:
    """The engine on a loop of its own."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.engine = Engine("smollm2-135m-instruct", EngineConfig(memory_budget=4 << 30))
        self.runner.run(self.engine.start())
        self._count = 0

    def request(self, chat: str | Chat, **kwargs: Any) -> GenerationRequest:
        self._count += 1
        talk = Chat((Message("user", chat),)) if isinstance(chat, str) else chat
        kwargs.setdefault("sampling_params", WARM)
        return GenerationRequest(f"r{self._count}", chat=talk, **kwargs)

    async def _answers(self, request: GenerationRequest) -> list[Answer]:
        answers = [Answer() for _ in range(request.n)]
        async for output in self.engine.generate(request):
            answer = answers[output.index]
            answer.text += output.text
            answer.reasoning += output.reasoning
            answer.tokens += len(output.token_ids)
            answer.logprobs += len(output.logprobs)
            answer.finish = output.finish or answer.finish
            for delta in output.tool_calls:
                if delta.index == len(answer.calls):
                    answer.calls.append([delta.name, ""])
                answer.calls[delta.index][1] += delta.arguments
        return answers

    def ask(self, *requests: GenerationRequest) -> list[Any]:
        """Answers (a list for each request), or what it raised, all at once in one batch."""

        async def together() -> list[Any]:
            return await asyncio.gather(*map(self._answers, requests), return_exceptions=True)

        return self.runner.run(together())

    def close(self) -> None:
        self.runner.run(self.engine.close())
        self.runner.close()


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    serving = Serving()
    yield serving
    serving.close()


def json_schema(value: Any) -> Constraint:
    text = value if isinstance(value, str) else json.dumps(value)
    return Constraint(ConstraintKind.JSON_SCHEMA, text)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_schemas_fifty_valid_answers(serving: Serving) -> None:
    sources = [path.read_text(encoding="utf-8") for path in schemas.PATHS]
    requests = [
        serving.request(
            f"Give me an example of: {path.stem.replace('_', ' ')}. Answer in JSON.",
            constraint=json_schema(source),
            max_tokens=700,
        )
        for path, source in zip(schemas.PATHS, sources, strict=True)
    ]
    plain = [serving.request("Say hello.", max_tokens=20) for _ in range(3)]
    found = serving.ask(*requests, *plain)
    for path, source, answers in zip(schemas.PATHS, sources, found[:50], strict=True):
        assert isinstance(answers, list), (path.stem, answers)
        assert answers[0].reason is FinishReason.STOP, (path.stem, answers[0].text[-200:])
        schemas.validate(source, answers[0].text)
    assert all(answers[0].text for answers in found[50:])


RECORD = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_the_compiler_is_there_before_the_first_constraint(serving: Serving) -> None:
    """So that the first constrained request is not slower than the next."""
    assembly = serving.engine._assembly
    assert assembly is not None
    limit = time.monotonic() + 30
    while assembly.preparer._grammar_compiler is None and time.monotonic() < limit:
        time.sleep(0.02)
    compiler = assembly.preparer._grammar_compiler
    assert compiler is not None and compiler.helper.pid is not None
    serving.ask(serving.request("Hi", constraint=json_schema({"const": 1}), max_tokens=4))
    assert assembly.preparer._grammar_compiler is compiler


def test_everything_works_together_with_a_constraint(serving: Serving) -> None:
    """n, seeds, penalties, logprobs and the prefix cache beside a constraint."""
    params = SamplingParams(
        temperature=0.9, seed=7, top_p=0.95, repetition_penalty=1.2, presence_penalty=0.3
    )

    def request() -> GenerationRequest:
        return serving.request(
            "Invent a person.",
            constraint=json_schema(RECORD),
            n=4,
            logprobs=2,
            max_tokens=120,
            sampling_params=params,
        )

    (first,) = serving.ask(request())
    (second,) = serving.ask(request())
    for answer in first:
        assert answer.reason is FinishReason.STOP
        Draft202012Validator(RECORD).validate(json.loads(answer.text))
        assert answer.logprobs == answer.tokens
    assert [a.text for a in first] == [a.text for a in second]


def test_the_token_limit_is_told_from_the_end(serving: Serving) -> None:
    request = serving.request("Hi", constraint=json_schema(RECORD), max_tokens=4)
    (answers,) = serving.ask(request)
    assert answers[0].reason is FinishReason.LENGTH


def test_stop_strings_work_inside_a_constraint(serving: Serving) -> None:
    constraint = Constraint(ConstraintKind.REGEX, "ab{1,60}")
    (answers,) = serving.ask(serving.request("Hi", constraint=constraint, stop=("bb",)))
    assert answers[0].reason is FinishReason.STOP and answers[0].text in ("a", "ab")


@pytest.mark.parametrize(
    ("constraint", "check"),
    [
        (Constraint(ConstraintKind.CHOICE, choices=("yes", "no")), ("yes", "no").__contains__),
        (Constraint(ConstraintKind.REGEX, "[A-Z]{3}-[0-9]{2}"), lambda text: text[3] == "-"),
        (Constraint(ConstraintKind.GRAMMAR, 'start: "x" | "(" start ")"'), lambda t: "x" in t),
    ],
    ids=["choice", "regex", "grammar"],
)
def test_other_constraints(serving: Serving, constraint: Constraint, check: Any) -> None:
    (answers,) = serving.ask(serving.request("Answer.", constraint=constraint, max_tokens=60))
    assert check(answers[0].text), answers[0]


def test_bombs_and_errors_end_their_own_request(serving: Serving) -> None:
    """GHSA-85xf-c7hm-whqw: one bad constraint and everybody else's answer goes on."""
    good = serving.request("Count to ten.", max_tokens=40)
    bad = [
        serving.request("Hi", constraint=json_schema({"type": "string", "pattern": "(((*"})),
        serving.request("Hi", constraint=Constraint(ConstraintKind.REGEX, "(a{900}){900}{900}")),
        serving.request("Hi", constraint=json_schema({"items": {"format": "regex"}})),
    ]
    found = serving.ask(good, *bad)
    assert found[0][0].text
    assert all(isinstance(error, InvalidRequest | ResourceExhausted) for error in found[1:])


WEATHER = Tool(
    "get_weather",
    "The weather of a city",
    json.dumps(
        {
            "type": "object",
            "properties": {
                "city": {"type": "string", "minLength": 2, "maxLength": 20},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        }
    ),
)
CLOCK = Tool("get_time", "The time", '{"type": "object", "additionalProperties": false}')


@pytest.mark.parametrize(
    "choice", [ToolChoice(ToolMode.REQUIRED), ToolChoice(ToolMode.NAMED, "get_weather")]
)
def test_forced_calls_of_a_model_that_knows_no_tools(serving: Serving, choice: ToolChoice) -> None:
    chat = Chat((Message("user", "What is the weather in Paris?"),), (WEATHER, CLOCK), choice)
    requests = [
        serving.request(chat, max_tokens=100, sampling_params=SamplingParams(seed=seed))
        for seed in range(4)
    ]
    for answers in serving.ask(*requests):
        answer = answers[0]
        assert answer.reason is FinishReason.TOOL_CALLS, answer
        assert answer.text == "" and len(answer.calls) == 1
        name, arguments = answer.calls[0]
        tool = WEATHER if name == "get_weather" else CLOCK
        assert choice.mode is ToolMode.REQUIRED or name == choice.name
        Draft202012Validator(json.loads(tool.parameters)).validate(json.loads(arguments))


def test_tools_that_the_template_does_not_know_are_not_ignored(serving: Serving) -> None:
    chat = Chat((Message("user", "Hi"),), (WEATHER,))
    (error,) = serving.ask(serving.request(chat, max_tokens=5))
    assert isinstance(error, Unsupported)
