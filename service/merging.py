"""Makes one output of several of a choice, for readers that are behind."""

from __future__ import annotations

from collections.abc import Sequence

from mlxforge.engine.output import RequestOutput, ToolCallDelta

CHARS_PER_ENTRY = 16


def entries(output: RequestOutput) -> int:
    """Its tokens and logprob entries; text that is long for its tokens counts as more."""
    entries = len(output.token_ids) + sum(len(position.top) for position in output.logprobs)
    return max(entries, len(output.text) // CHARS_PER_ENTRY)


def merged(outputs: Sequence[RequestOutput]) -> Sequence[RequestOutput]:
    """One output for each choice among ``outputs``, in the order of their first ones."""
    if len(outputs) < 2:
        return outputs
    by_index: dict[int, list[RequestOutput]] = {}
    for output in outputs:
        by_index.setdefault(output.index, []).append(output)
    return [_joined(parts) if len(parts) > 1 else parts[0] for parts in by_index.values()]


def _joined(parts: Sequence[RequestOutput]) -> RequestOutput:
    return RequestOutput(
        request_id=parts[0].request_id,
        index=parts[0].index,
        text="".join(p.text for p in parts),
        reasoning="".join(p.reasoning for p in parts),
        token_ids=tuple(i for p in parts for i in p.token_ids),
        logprobs=tuple(entry for p in parts for entry in p.logprobs),
        tool_calls=tuple(_joined_calls([call for p in parts for call in p.tool_calls])),
        finish=parts[-1].finish,
    )


def _joined_calls(deltas: Sequence[ToolCallDelta]) -> list[ToolCallDelta]:
    """Consecutive pieces of one call become one piece."""
    joined: list[ToolCallDelta] = []
    for delta in deltas:
        if joined and joined[-1].index == delta.index:
            last = joined[-1]
            joined[-1] = ToolCallDelta(
                last.index,
                last.id + delta.id,
                last.name + delta.name,
                last.arguments + delta.arguments,
            )
        else:
            joined.append(delta)
    return joined
