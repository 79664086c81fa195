"""What a call came to, in one form whichever runner made it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format, message_factory
from google.rpc import code_pb2, error_details_pb2, status_pb2

from .cases import METHODS

DOMAIN = "mlxforge"


@dataclass
class Failure:
    """What an error said."""

    message: str = ""
    reason: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    retry_after_ms: float | None = None


@dataclass
class Outcome:
    """The responses of a call, in the schema's own field names with all defaults, and its end."""

    rpc: str
    responses: list[dict[str, Any]]
    code: str
    failure: Failure

    @property
    def answer(self) -> dict[str, Any]:
        """The one response; a stream of text put together as the unary call has it."""
        if self.rpc == "StreamGenerate":
            return _gathered(self.responses)
        return self.responses[-1] if self.responses else {}


def outcome_of(rpc: str, messages: list[str], code: int, error: dict[str, Any]) -> Outcome:
    """From a runner's lines: responses as JSON, a status code, what is known of the error."""
    response_type = message_factory.GetMessageClass(METHODS[rpc].output_type)
    responses = [
        json_format.MessageToDict(
            json_format.Parse(message, response_type()),
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        for message in messages
    ]
    return Outcome(rpc, responses, code_pb2.Code.Name(code), _failure(error))


def _failure(error: dict[str, Any]) -> Failure:
    if "status" in error:
        return _failure_of_status(status_pb2.Status.FromString(bytes.fromhex(error["status"])))
    return Failure(
        message=error.get("message", ""),
        reason=error.get("reason", ""),
        fields={each["field"]: each["description"] for each in error.get("fields", ())},
        retry_after_ms=error.get("retryAfterMs"),
    )


def _failure_of_status(status: status_pb2.Status) -> Failure:
    failure = Failure(message=status.message)
    info = error_details_pb2.ErrorInfo()
    bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            failure.reason = info.reason
        elif detail.Unpack(bad):
            failure.fields = {each.field: each.description for each in bad.field_violations}
        elif detail.Unpack(retry):
            failure.retry_after_ms = retry.retry_delay.ToMilliseconds()
    return failure


def _gathered(responses: list[dict[str, Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = {"choices": []}
    for response in responses:
        answer.update({key: response[key] for key in ("id", "model") if response.get(key)})
        choices = answer["choices"]
        while len(choices) <= response["index"]:
            choices.append(_choice(len(choices)))
        choice = choices[response["index"]]
        for key in ("text", "reasoning", "token_ids", "logprobs"):
            choice[key] += response.get("delta", {}).get(key, "" if key in _TEXTS else [])
        for piece in response.get("delta", {}).get("tool_calls", ()):
            _add_call(choice["tool_calls"], piece)
        if finish := response.get("finish"):
            choice.update({key: finish[key] for key in _FINISH if key in finish})
            answer["usage"] = _total(answer.get("usage"), finish["usage"])
            answer["timings"] = finish["timings"]
    return answer


_TEXTS = ("text", "reasoning")
_FINISH = ("finish_reason", "matched_stop")


def _choice(index: int) -> dict[str, Any]:
    empty: dict[str, Any] = {"text": "", "reasoning": "", "token_ids": []}
    return {"index": index, **empty, "logprobs": [], "tool_calls": []}


def _add_call(calls: list[dict[str, str]], piece: dict[str, Any]) -> None:
    while len(calls) <= piece["index"]:
        calls.append({"id": "", "name": "", "arguments": ""})
    for key in ("id", "name", "arguments"):
        calls[piece["index"]][key] += piece.get(key, "")


def _total(so_far: dict[str, int] | None, usage: dict[str, int]) -> dict[str, int]:
    if so_far is None:
        return dict(usage)
    shared = ("prompt_tokens", "cached_tokens")
    return {
        key: max(so_far[key], value) if key in shared else so_far[key] + value
        for key, value in usage.items()
    }
