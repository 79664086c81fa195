"""What the parsers report."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass

from mlxforge.engine.output import ToolCallDelta

_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class ParserEvent:
    """A stretch of an answer; exactly one of the three is set."""

    text: str = ""
    reasoning: str = ""
    tool_call: ToolCallDelta | None = None


def new_call_id() -> str:
    """``call_`` and 24 random characters."""
    return "call_" + "".join(secrets.choice(_ALPHABET) for _ in range(24))
