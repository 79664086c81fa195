"""Answers of generation: engine to schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mlxforge.engine.output import (
    Finish,
    FinishReason,
    RequestOutput,
    Timings,
    TokenLogprobs,
    ToolCallDelta,
    Usage,
)
from mlxforge.v1 import chat_pb2, generation_pb2, usage_pb2

_FINISH_REASONS = {
    FinishReason.STOP: generation_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: generation_pb2.FINISH_REASON_LENGTH,
    FinishReason.TOOL_CALLS: generation_pb2.FINISH_REASON_TOOL_CALLS,
    FinishReason.CANCELLED: generation_pb2.FINISH_REASON_CANCELLED,
}


def stream_responses(output: RequestOutput) -> Iterator[generation_pb2.StreamGenerateResponse]:
    """A piece of a choice as the messages of a stream: its delta, its finish, or both."""
    if output.token_ids or output.text or output.reasoning or output.tool_calls:
        yield generation_pb2.StreamGenerateResponse(
            index=output.index,
            delta=generation_pb2.GenerateDelta(
                text=output.text,
                reasoning=output.reasoning,
                tool_calls=[_tool_call_delta(call) for call in output.tool_calls],
                token_ids=output.token_ids,
                logprobs=map(_token_logprobs, output.logprobs),
            ),
        )
    if output.finish is not None:
        finish = output.finish
        yield generation_pb2.StreamGenerateResponse(
            index=output.index,
            finish=generation_pb2.GenerateFinish(
                finish_reason=_FINISH_REASONS[finish.reason],
                matched_stop=_matched_stop(finish),
                usage=_usage(finish.usage),
                timings=_timings(finish.timings),
            ),
        )


@dataclass(slots=True)
class _Choice:
    """What of one choice has come so far."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    tool_calls: dict[int, chat_pb2.ToolCall] = field(default_factory=dict)
    finish: Finish | None = None


class Collector:
    """Collects the pieces of all choices into one answer."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}

    def add(self, output: RequestOutput) -> None:
        """Take the next piece of a choice."""
        choice = self._choices.setdefault(output.index, _Choice())
        choice.text.append(output.text)
        choice.reasoning.append(output.reasoning)
        choice.token_ids.extend(output.token_ids)
        choice.logprobs.extend(output.logprobs)
        for delta in output.tool_calls:
            call = choice.tool_calls.setdefault(delta.index, chat_pb2.ToolCall())
            call.id += delta.id
            call.name += delta.name
            call.arguments += delta.arguments
        choice.finish = output.finish or choice.finish

    def response(self, request_id: str, model: str) -> generation_pb2.GenerateResponse:
        """The whole answer, once every choice has finished."""
        finishes = [c.finish for c in self._choices.values() if c.finish is not None]
        return generation_pb2.GenerateResponse(
            id=request_id,
            model=model,
            choices=[_choice(index, c) for index, c in sorted(self._choices.items())],
            usage=_usage(total_usage(f.usage for f in finishes)),
            timings=_timings(_span([f.timings for f in finishes])),
        )


def total_usage(usages: Iterable[Usage]) -> Usage:
    """Tokens of all choices; what they share, the prompt, counts once."""
    prompt = completion = cached = reasoning = 0
    for usage in usages:
        prompt = max(prompt, usage.prompt_tokens)
        cached = max(cached, usage.cached_tokens)
        completion += usage.completion_tokens
        reasoning += usage.reasoning_tokens
    return Usage(prompt, completion, cached, reasoning)


def _span(timings: list[Timings]) -> Timings:
    """From the first choice's admission and token to the last one's end."""
    if not timings:
        return Timings()
    return Timings(
        queue=min(t.queue for t in timings),
        time_to_first_token=min(t.time_to_first_token for t in timings),
        total=max(t.total for t in timings),
    )


def _choice(index: int, choice: _Choice) -> generation_pb2.GenerateChoice:
    message = generation_pb2.GenerateChoice(
        index=index,
        text="".join(choice.text),
        reasoning="".join(choice.reasoning),
        tool_calls=[call for _, call in sorted(choice.tool_calls.items())],
        token_ids=choice.token_ids,
        logprobs=map(_token_logprobs, choice.logprobs),
    )
    if choice.finish is not None:
        message.finish_reason = _FINISH_REASONS[choice.finish.reason]
        stop = _matched_stop(choice.finish)
        if stop is not None:
            message.matched_stop.CopyFrom(stop)
    return message


def _matched_stop(finish: Finish) -> generation_pb2.MatchedStop | None:
    match finish.matched_stop:
        case None:
            return None
        case str(text):
            return generation_pb2.MatchedStop(text=text)
        case token_id:
            return generation_pb2.MatchedStop(token_id=token_id)


def _token_logprobs(logprobs: TokenLogprobs) -> generation_pb2.TokenLogprobs:
    texts = iter(logprobs.texts)
    return generation_pb2.TokenLogprobs(
        chosen=generation_pb2.TokenLogprob(
            token_id=logprobs.token_id, logprob=logprobs.logprob, token=next(texts, "")
        ),
        top=[
            generation_pb2.TokenLogprob(token_id=token_id, logprob=value, token=next(texts, ""))
            for token_id, value in logprobs.top
        ],
    )


def _tool_call_delta(delta: ToolCallDelta) -> chat_pb2.ToolCallDelta:
    return chat_pb2.ToolCallDelta(
        index=delta.index, id=delta.id, name=delta.name, arguments=delta.arguments
    )


def _usage(usage: Usage) -> usage_pb2.Usage:
    return usage_pb2.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def _timings(timings: Timings) -> usage_pb2.Timings:
    return usage_pb2.Timings(
        queue_seconds=timings.queue,
        time_to_first_token_seconds=timings.time_to_first_token,
        total_seconds=timings.total,
    )
