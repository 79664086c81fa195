"""Which added tokens are control tokens, though their tokenizer does not say so."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Qwen's, DeepSeek's and others' marks are flagged as ordinary text, so that they show in
# decoded text; still only a template or the model itself may place them.
_MARK = re.compile(
    r"<[|\uff5c].*[|\uff5c]>|</?(think|tool_call|tool_response|tool_calls|tools)>|\[/?[A-Z_]+\]"
)
_BRACKETED = re.compile(r"<\S*>|\[\S*\]")


def is_control(text: str, templates: Iterable[str]) -> bool:
    """Whether an added token that is not flagged special steers the model all the same.

    It does when it has the form of such marks, or when it stands in brackets and a chat
    template spells it.
    """
    if _MARK.fullmatch(text):
        return True
    return bool(_BRACKETED.fullmatch(text)) and any(text in source for source in templates)
