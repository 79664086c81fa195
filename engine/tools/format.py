"""What there is to know of a model's output, found out once per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlxforge.engine.request import Tool

from .harmony import HarmonyParser
from .parser import OutputParser
from .reasoning import ReasoningMarks, find_marks
from .syntax import Style, ToolSyntax, find_syntax

if TYPE_CHECKING:
    from mlxforge.engine.tokenizer import Tokenizer

# Arguments by which templates turn thinking on and off, the commonest first.
_SWITCHES = ("enable_thinking", "thinking")


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """How one model marks reasoning and tool calls.

    ``thinking_switch``: the template's argument that turns thinking off, None: it has none.
    ``reasoning_end_ids``: the tokens that close the thinking, to be forced when a budget is
    used up. ``lead_in_ids``: tokens by which the model may open its thinking itself, to be
    allowed before a constraint begins. ``mark_ids``: control tokens that the parser must see
    although decoded text leaves them out. ``token_ids``: of all control tokens, by text.
    """

    reasoning: ReasoningMarks | None
    syntax: ToolSyntax | None
    thinking_switch: str | None
    reasoning_end_ids: tuple[int, ...]
    lead_in_ids: frozenset[int]
    mark_ids: frozenset[int]
    token_ids: Mapping[str, int]

    @classmethod
    def detect(cls, tokenizer: Tokenizer, config: Mapping[str, Any] | None = None) -> ModelFormat:
        """Look at a model's control tokens, chat templates and configuration.

        ``config`` may name the syntax as ``tool_parser_type``, as mlx-lm's conversions do.
        """
        tokens = {token.text: token.id for token in tokenizer.control_tokens}
        templates = tokenizer.chat_templates
        configured = (config or {}).get("tool_parser_type")
        syntax = find_syntax(
            tokens, templates.values(), configured if isinstance(configured, str) else None
        )
        reasoning = find_marks(tokens, "\n".join(templates.values()))
        harmony = syntax is not None and syntax.style is Style.HARMONY
        end = "<|end|><|start|>assistant<|channel|>final<|message|>" if harmony else ""
        if reasoning is not None:
            end = reasoning.end
        switches = [name for name in _SWITCHES if name in tokenizer.template_variables]
        start = tokens.get(reasoning.start) if reasoning is not None else None
        return cls(
            reasoning=None if harmony else reasoning,
            syntax=syntax,
            thinking_switch=switches[0] if switches else None,
            reasoning_end_ids=_ids(end, tokens, tokenizer),
            lead_in_ids=frozenset() if start is None else frozenset({start}),
            mark_ids=_mark_ids(reasoning, syntax, tokens),
            token_ids=tokens,
        )

    @property
    def reasons(self) -> bool:
        """Whether the model marks its thinking."""
        return self.reasoning is not None or self.is_harmony

    @property
    def is_harmony(self) -> bool:
        """Whether the whole output is structured by gpt-oss's channels."""
        return self.syntax is not None and self.syntax.style is Style.HARMONY

    def parser(
        self,
        tools: Sequence[Tool] = (),
        *,
        prompt_tail: str = "",
        syntax: ToolSyntax | None = None,
    ) -> OutputParser | HarmonyParser | None:
        """The parser of one answer; None when there is nothing to parse.

        ``prompt_tail``: the end of the rendered prompt, marks included (64 characters do);
        it tells whether the template has opened the thinking. ``syntax``: that of a
        forced call (``ForcedCall.syntax``).
        """
        if self.is_harmony:
            return HarmonyParser(forced=syntax is not None)
        syntax = syntax or self.syntax
        if self.reasoning is None and not (tools and syntax):
            return None
        opened = self.reasoning is not None and self.reasoning.opened_by(prompt_tail)
        return OutputParser(self.reasoning, syntax, tools, in_reasoning=opened)


def _ids(text: str, tokens: Mapping[str, int], tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens of trusted text: control tokens where they are spelled, else encoded."""
    found: list[int] = []
    while text:
        starts = [(text.find(t), -len(t), t) for t in tokens if t and t in text]
        at, _, token = min(starts, default=(len(text), 0, ""))
        if at:
            found += tokenizer.encode(text[:at], add_special_tokens=False)
        if token:
            found.append(tokens[token])
        text = text[at + len(token) :]
    return tuple(found)


def _mark_ids(
    reasoning: ReasoningMarks | None, syntax: ToolSyntax | None, tokens: Mapping[str, int]
) -> frozenset[int]:
    """Control tokens that are marks or parts of marks."""
    marks = [syntax.start, syntax.end] if syntax is not None else []
    if reasoning is not None:
        marks += [reasoning.start, reasoning.end, *reasoning.drop]
    inner = _INNER.get(syntax.name, ()) if syntax is not None else ()
    return frozenset(
        index
        for text, index in tokens.items()
        if text in inner or any(text in mark for mark in marks)
    )


# Marks within calls.
_INNER = {
    "harmony": ("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>",
                "<|call|>", "<|return|>"),
    "mistral": ("[ARGS]", "[CALL_ID]", "[TOOL_CALLS]"),
    "kimi_k2": ("<|tool_call_begin|>", "<|tool_call_end|>", "<|tool_call_argument_begin|>"),
    "kimi_k3": ("<|open|>", "<|close|>", "<|sep|>"),
    "gemma4": ('<|"|>',),
    "function_gemma": ("<escape>",),
    "glm47": ("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    "laguna": ("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    "longcat": ("<longcat_arg_key>", "</longcat_arg_key>", "<longcat_arg_value>",
                "</longcat_arg_value>"),
}  # fmt: skip
