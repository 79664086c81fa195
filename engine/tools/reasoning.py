"""How models mark their thinking."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReasoningMarks:
    """What opens and closes a model's thinking, as it stands in its output.

    ``drop``: further marks that structure the answer and are no text.
    """

    start: str
    end: str
    drop: tuple[str, ...] = ()

    def opened_by(self, prompt_tail: str) -> bool:
        """Whether the prompt ends inside the thinking, because the template opened it."""
        return prompt_tail.rstrip().endswith(self.start.rstrip())


# The first pair whose marks the model knows is its own. The names are those of the models'
# own templates: Qwen3, DeepSeek-R1 and most others; LongCat; MiniMax; Magistral; Seed-OSS;
# Gemma 4; Kimi K3.
_KNOWN = (
    ReasoningMarks("<think>", "</think>"),
    ReasoningMarks("<longcat_think>", "</longcat_think>"),
    ReasoningMarks("<|think:start|>", "<|think:end|>"),
    ReasoningMarks("<seed:think>", "</seed:think>"),
    ReasoningMarks("[THINK]", "[/THINK]"),
)
_GEMMA4 = ReasoningMarks("<|channel>thought\n", "<channel|>")
_XTML_TOKENS = ("<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>")
_XTML = ReasoningMarks(
    "<|open|>think<|sep|>",
    "<|close|>think<|sep|>",
    ("<|open|>response<|sep|>", "<|close|>response<|sep|>", "<|close|>message<|sep|>"),
)


def find_marks(tokens: Iterable[str], template: str) -> ReasoningMarks | None:
    """The marks of a model, by its control tokens and its chat template."""
    known = set(tokens)
    for marks in _KNOWN:
        if {marks.start, marks.end} <= known or (marks.start in template and marks.end in template):
            return marks
    if {"<|channel>", "<channel|>"} <= known:
        return _GEMMA4
    return _XTML if known.issuperset(_XTML_TOKENS) else None
