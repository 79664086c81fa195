"""Text to token ids and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import tokenizers

from ..request import Chat
from .detokenizer import Detokenizer
from .vocabulary import Spelling, byte_table


@dataclass(frozen=True, slots=True)
class ControlToken:
    """A token that steers the model; only a template or the tokenizer itself may place it.

    ``lstrip`` and ``rstrip``: it swallows white space on that side.
    """

    id: int
    text: str
    lstrip: bool = False
    rstrip: bool = False


class Tokenizer:
    """A model's tokenizer. All methods may be called from any thread.

    Spellings of special tokens in a text are encoded as plain characters: tokens that steer
    the model come only from its own templates (CVE-2026-44222).
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        spelling: Spelling,
        special_token_ids: Iterable[int],
        eos_token_ids: Iterable[int],
        bos_token: str = "",
        eos_token: str = "",
        strips_leading_space: bool = False,
    ) -> None:
        backend.encode_special_tokens = True
        backend.no_truncation()
        backend.no_padding()
        self.backend = backend
        self.spelling = spelling
        self.special_token_ids = frozenset(special_token_ids)
        self.eos_token_ids = frozenset(eos_token_ids)
        self.bos_token = bos_token
        self.eos_token = eos_token
        self.strips_leading_space = strips_leading_space

    @cached_property
    def byte_table(self) -> Sequence[bytes]:
        """Bytes of every id, indexed by id."""
        added = {
            index: token.content for index, token in self.backend.get_added_tokens_decoder().items()
        }
        vocabulary = self.backend.get_vocab(with_added_tokens=False)
        return byte_table(vocabulary, added, self.spelling)

    @property
    def vocab_size(self) -> int:
        """One more than the highest id that has a token; the logits may be wider."""
        return len(self.byte_table)

    @property
    def has_chat_template(self) -> bool:
        """Whether ``render_chat`` works."""
        return False

    @property
    def supports_tools(self) -> bool:
        """Whether the chat template knows tools."""
        return False

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Ids of a text; ``add_special_tokens``: with the model's own opening tokens."""
        return list(self.backend.encode(text, add_special_tokens=add_special_tokens).ids)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of tokens; ids without a token are left out."""
        if not skip_special_tokens:
            return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")
        detokenizer = Detokenizer(self, continues_text=False)
        return "".join(map(detokenizer.add, ids)) + detokenizer.flush()

    def render_chat(self, chat: Chat) -> list[int]:
        """Ids of a conversation, by the model's chat template."""
        raise NotImplementedError

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes a token stands for; empty for an id without a token."""
        return self.byte_table[token_id] if 0 <= token_id < len(self.byte_table) else b""

    def token_text(self, token_id: int) -> str:
        """The text of a token; empty where its bytes are only a part of a character."""
        try:
            return self.token_bytes(token_id).decode("utf-8")
        except UnicodeDecodeError:
            return ""
