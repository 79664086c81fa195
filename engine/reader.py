"""What one token means for its sequence: text, a stop, the end."""

from __future__ import annotations

from typing import TypeAlias

from .output import Finish, FinishReason, RequestOutput, TokenLogprobs
from .sampling.sampler import top_alternatives
from .sequence import Sequence
from .text import Piece

RawLogprobs: TypeAlias = tuple[float, list[int], list[float]]


def read_token(
    sequence: Sequence, token: int, logprobs: RawLogprobs | None, now: float
) -> RequestOutput:
    """Append ``token`` to the sequence and say what its caller gets to see.

    Errors of the sequence's grammar or parser are the caller's to turn into the request's end.
    """
    sequence.output.append(token)
    if sequence.first_token is None:
        sequence.first_token = now
    ended = token in sequence.end_ids or token in sequence.stop_ids
    piece = Piece()
    reason: FinishReason | None = None
    stop: str | int | None = None
    if ended:
        reason, stop = FinishReason.STOP, token
    else:
        piece = _read_text(sequence, token)
        if piece.stop is not None:
            reason, stop = FinishReason.STOP, piece.stop
        elif _constraint_complete(sequence):
            reason = FinishReason.STOP
        elif len(sequence.output) >= sequence.max_tokens:
            reason = FinishReason.LENGTH
    if reason is not None and piece.stop is None:
        last = sequence.text.finish()
        _append(piece, last)
        if last.stop is not None:
            reason, stop = FinishReason.STOP, last.stop
    if reason is FinishReason.STOP and sequence.text.called_tools:
        reason = FinishReason.TOOL_CALLS
    return RequestOutput(
        request_id=sequence.request_id,
        index=sequence.index,
        text=piece.text,
        reasoning=piece.reasoning,
        token_ids=(token,),
        logprobs=_reported(sequence, token, logprobs),
        tool_calls=piece.tool_calls,
        finish=None
        if reason is None
        else Finish(reason, sequence.usage(), sequence.timings(now), stop),
    )


def _read_text(sequence: Sequence, token: int) -> Piece:
    thinking = sequence.text.in_reasoning
    piece = sequence.text.push(token, stops=len(sequence.output) >= sequence.min_tokens)
    if thinking or sequence.text.in_reasoning:
        _count_thinking(sequence)
    if sequence.grammar is not None and not thinking:
        sequence.grammar.accept(token)
    return piece


def _count_thinking(sequence: Sequence) -> None:
    """Close the thinking once its budget is used."""
    sequence.reasoning_tokens += 1
    budget = sequence.reasoning_budget
    if budget is not None and sequence.reasoning_tokens >= budget and sequence.text.in_reasoning:
        sequence.forced = list(sequence.reasoning_end)
        sequence.reasoning_budget = None if not sequence.forced else budget + len(sequence.forced)


def _constraint_complete(sequence: Sequence) -> bool:
    grammar = sequence.grammar
    return grammar is not None and not sequence.text.in_reasoning and grammar.complete


def _append(piece: Piece, last: Piece) -> None:
    piece.text += last.text
    piece.reasoning += last.reasoning
    piece.tool_calls += last.tool_calls
    piece.stop = last.stop


def _reported(
    sequence: Sequence, token: int, logprobs: RawLogprobs | None
) -> tuple[TokenLogprobs, ...]:
    if logprobs is None:
        return ()
    chosen, ids, values = logprobs
    top = top_alternatives(ids, values, sequence.sampling.logprobs or 0)
    spelling = sequence.text.spelling
    texts = (spelling(token), *(spelling(other) for other, _ in top))
    return (TokenLogprobs(token, chosen, top, texts),)
