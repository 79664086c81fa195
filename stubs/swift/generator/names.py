"""The schema's names in Swift's spelling."""

from __future__ import annotations

# Swift's words that cannot name a member or a case without backticks.
_RESERVED = """
as break case catch class continue default defer do else enum extension fallthrough
false for func guard if import in inout internal is let nil operator private protocol
public repeat rethrows return static struct subscript super switch throw throws true
try typealias var where while
"""


def swift_name(name: str, *, upper: bool = False) -> str:
    """``max_tokens`` as ``maxTokens``, or ``MaxTokens``; ``TOOL_CALLS`` as ``toolCalls``."""
    if name.isupper():
        name = name.lower()
    first, *rest = [word for word in name.split("_") if word]
    head = first[0].upper() + first[1:] if upper else first[0].lower() + first[1:]
    return head + "".join(word[0].upper() + word[1:] for word in rest)


def member(name: str) -> str:
    """A member's or a case's name, in backticks where it is a word of Swift's.

    Raises ``ValueError`` for what no member can be called.
    """
    spelled = swift_name(name)
    if spelled in ("self", "init"):
        raise ValueError(f"{name} cannot be a name in Swift")
    return f"`{spelled}`" if spelled in _RESERVED.split() else spelled


def case_name(enum: str, value: str) -> str:
    """A value's name without that of its enum: ``FINISH_REASON_STOP`` is ``stop``."""
    prefix = "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(enum)).upper() + "_"
    return member(value.removeprefix(prefix))
