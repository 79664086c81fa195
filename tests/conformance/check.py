"""Whether a call came to what its case expects. All that is wrong is said, not the first only."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import jsonschema

from .cases import METHODS, Step
from .outcome import Outcome

_ABSENT = object()


def mismatches(step: Step, outcome: Outcome, earlier: dict[str, Outcome]) -> list[str]:
    """All ways in which the outcome is not what the step expects; empty when it is."""
    expect = step.expect
    code = expect.get("code", "OK")
    if outcome.code != code:
        return [f"code is {outcome.code}, not {code}: {outcome.failure.message}"]
    found = _failure_mismatches(expect, outcome) if code != "OK" else _shape_mismatches(outcome)
    if "responses" in expect:
        found += _match(expect["responses"], len(outcome.responses), "responses")
    if "answer" in expect:
        found += _match(expect["answer"], outcome.answer, "answer")
    for i, response in enumerate(outcome.responses):
        found += _match(expect.get("each", {}), response, f"responses[{i}]")
    if "pieces" in expect:
        pieces = [each["delta"]["text"] for each in outcome.responses if "delta" in each]
        found += [m for piece in pieces for m in _match(expect["pieces"], piece, "a piece")]
    if "text" in expect:
        found += _match(expect["text"], text_of(outcome), "text")
    if "json" in expect:
        found += _json_mismatches(expect["json"], text_of(outcome))
    for mine, step_id, theirs in expect.get("equals", ()):
        wanted = value_at(earlier[step_id].answer, theirs)
        found += _match(wanted, value_at(outcome.answer, mine), f"answer.{mine}")
    return found + _vector_mismatches(expect, outcome)


def text_of(outcome: Outcome) -> Any:
    """The text of the first choice, or of a detokenized list."""
    answer = outcome.answer
    return answer["choices"][0]["text"] if "choices" in answer else answer.get("text")


def value_at(value: Any, path: str) -> Any:
    """The value at a path as ``choices.0.text``."""
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def _failure_mismatches(expect: dict[str, Any], outcome: Outcome) -> list[str]:
    failure, found = outcome.failure, []
    if "reason" in expect:
        found += _match(expect["reason"], failure.reason, "reason")
    if "message" in expect:
        found += _match(expect["message"], failure.message, "message")
    if "fields" in expect and set(expect["fields"]) != failure.fields.keys():
        found.append(f"fields are {sorted(failure.fields)}, not {sorted(expect['fields'])}")
    wanted = expect.get("retry")
    if isinstance(wanted, bool):
        wanted = {"$not": None} if wanted else None
    if "retry" in expect:
        found += _match(wanted, failure.retry_after_ms, "retry_after_ms")
    return found


def _shape_mismatches(outcome: Outcome) -> list[str]:
    """What holds of every call that ends well."""
    if not METHODS[outcome.rpc].server_streaming and len(outcome.responses) != 1:
        return [f"{len(outcome.responses)} responses to a unary call"]
    if outcome.rpc in ("Generate", "StreamGenerate"):
        return _answer_mismatches(outcome)
    return []


def _answer_mismatches(outcome: Outcome) -> list[str]:
    found = []
    answer = outcome.answer
    if not re.fullmatch(r"req_\w+", answer.get("id", "")) or not answer.get("model"):
        found.append("id or model is missing")
    tokens = sum(len(choice["token_ids"]) for choice in answer["choices"])
    if tokens != answer["usage"]["completion_tokens"]:
        found.append(f"{tokens} token ids, but usage is {answer['usage']}")
    ended: set[int] = set()
    for i, response in enumerate(outcome.responses if outcome.rpc == "StreamGenerate" else ()):
        if bool(response["id"]) != (i == 0) or bool(response["model"]) != (i == 0):
            found.append(f"responses[{i}]: id and model belong in the first message alone")
        if response["index"] in ended:
            found.append(f"responses[{i}]: choice {response['index']} had ended")
        if "finish" in response:
            ended.add(response["index"])
    if any("finish_reason" not in choice for choice in answer["choices"]):
        found.append("a choice has no finish")
    return found


def _json_mismatches(schema: Any, text: str) -> list[str]:
    try:
        value = json.loads(text)
    except ValueError as error:
        return [f"text is not JSON ({error}): {text!r}"]
    validator = jsonschema.Draft202012Validator(schema)
    return [f"JSON {value}: {error.message}" for error in validator.iter_errors(value)]


def _vector_mismatches(expect: dict[str, Any], outcome: Outcome) -> list[str]:
    """``norm``: all vectors' length. ``similar``: [i, j, cosine] of two of them."""
    found = []
    vectors = [each["values"] for each in outcome.answer.get("embeddings", ())]
    if "norm" in expect:
        for i, vector in enumerate(vectors):
            found += _match({"$near": expect["norm"]}, math.hypot(*vector), f"norm of {i}")
    for i, j, cosine in expect.get("similar", ()):
        dot = sum(a * b for a, b in zip(vectors[i], vectors[j], strict=True))
        value = dot / math.hypot(*vectors[i]) / math.hypot(*vectors[j])
        found += _match({"$near": cosine}, value, f"similarity of {i} and {j}")
    return found


def _match(expected: Any, value: Any, path: str) -> list[str]:
    """Objects match by the members named, lists and others whole; ``$`` members are tests."""
    if isinstance(expected, dict):
        if tests := {key for key in expected if key.startswith("$")}:
            return [
                f"{path} is {_short(value)}, not {key[1:]} {expected[key]}"
                for key in sorted(tests)
                if not _TESTS[key](value, expected[key])
            ]
        if not isinstance(value, dict):
            return [f"{path} is {_short(value)}, not an object"]
        return [
            mismatch
            for key, inner in expected.items()
            for mismatch in _match(inner, value.get(key, _ABSENT), f"{path}.{key}")
        ]
    if isinstance(expected, list) and isinstance(value, list) and len(expected) == len(value):
        pairs = zip(expected, value, strict=True)
        return [m for i, (e, v) in enumerate(pairs) for m in _match(e, v, f"{path}[{i}]")]
    return [] if expected == value else [f"{path} is {_short(value)}, not {expected!r}"]


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "$re": lambda value, regex: isinstance(value, str) and re.search(regex, value) is not None,
    "$in": lambda value, values: value in values,
    "$has": lambda value, items: value is not _ABSENT and all(item in value for item in items),
    "$not": lambda value, other: value != other,
    "$len": lambda value, length: value is not _ABSENT and not _match(length, len(value), ""),
    "$min": lambda value, least: value is not _ABSENT and float(value) >= least,
    "$max": lambda value, most: value is not _ABSENT and float(value) <= most,
    "$near": lambda value, other: value is not None and abs(float(value) - other) <= 2e-3,
    "$set": lambda value, is_set: (value is not _ABSENT) == is_set,
    "$all": lambda value, each: all(not _match(each, item, "") for item in value),
}


def _short(value: Any) -> str:
    text = "not set" if value is _ABSENT else repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
