"""How much one request may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Most of everything a request may hold. Characters are Unicode code points."""

    max_input_chars: int = 4 * 2**20
    """Of the prompt, or of all messages and tools of a chat, or of an embedding's texts."""
    max_input_ids: int = 2**20
    max_stop: int = 16
    max_stop_chars: int = 256
    max_stop_token_ids: int = 128
    max_logit_bias: int = 1024
    max_logprobs: int = 20
    max_n: int = 16
    max_messages: int = 4096
    max_tools: int = 128
    max_tool_calls: int = 128
    """Of one message."""
    max_name_chars: int = 256
    max_cache_salt_chars: int = 128
    max_constraint_chars: int = 256 * 2**10
    max_choices: int = 1024
    max_choices_chars: int = 64 * 2**10
    max_template_values: int = 1024
    max_template_depth: int = 16
    max_embed_inputs: int = 2048
    max_instruction_chars: int = 4096
    max_stream_backlog: int = 65_536
    """Tokens and logprob entries held for a reader that is behind: some 10 MB at the worst."""


DEFAULT_LIMITS = Limits()
