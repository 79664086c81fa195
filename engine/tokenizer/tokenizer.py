"""Text to token ids and back."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import tokenizers

from ..errors import InternalError, Unsupported
from ..request import Chat
from .chat import ChatFormat
from .control import ControlToken, ControlTokens
from .detokenizer import Detokenizer
from .native import native_errors
from .vocabulary import Spelling, byte_table


class Tokenizer:
    """A model's tokenizer. All methods may be called from any thread.

    Spellings of control tokens in a text are encoded as plain characters: tokens that steer
    the model come only from its own templates (CVE-2026-44222).
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        spelling: Spelling,
        special_token_ids: Iterable[int],
        eos_token_ids: Iterable[int],
        special_texts: Mapping[str, str] | None = None,
        chat_templates: Mapping[str, str] | None = None,
        strips_leading_space: bool = False,
    ) -> None:
        """Take over ``backend``, whose control tokens are those flagged ``special``.

        ``special_token_ids`` are left out of decoded text; a control token that is not among
        them (``<think>``) is text to the reader. ``special_texts`` are ``bos_token``,
        ``eos_token`` and the like, for templates. ``chat_templates`` by name; one is called
        ``default``. Raises ``LoadError`` for templates that cannot be used.
        """
        self.spelling = spelling
        self.special_token_ids = frozenset(special_token_ids)
        self.eos_token_ids = frozenset(eos_token_ids)
        self.strips_leading_space = strips_leading_space
        added = backend.get_added_tokens_decoder()
        vocabulary = backend.get_vocab(with_added_tokens=False)
        texts = {index: token.content for index, token in added.items()}
        self.byte_table: Sequence[bytes] = byte_table(vocabulary, texts, spelling)
        """Bytes of every id, indexed by id."""
        controls = [
            ControlToken(index, token.content, token.lstrip, token.rstrip)
            for index, token in added.items()
            if token.special
        ]
        self._chat = (
            ChatFormat(chat_templates, controls, special_texts or {}) if chat_templates else None
        )
        self.control_tokens = self._chat.control_tokens if self._chat else ControlTokens(controls)
        self.backend = backend
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # as plain text
        self._opening, self._closing = self._affixes()
        # Stands where a control token goes while the text around it is encoded. Nobody can
        # spell it, and it is not flagged special, so it is found in spite of the line above.
        self._gap = f"<{secrets.token_hex(16)}>"
        backend.add_tokens([tokenizers.AddedToken(self._gap, normalized=False, special=False)])
        self._gap_id = backend.token_to_id(self._gap)

    @property
    def vocab_size(self) -> int:
        """One more than the highest id that has a token; the logits may be wider."""
        return len(self.byte_table)

    @property
    def has_chat_template(self) -> bool:
        """Whether ``render_chat`` works."""
        return self._chat is not None

    @property
    def supports_tools(self) -> bool:
        """Whether the chat template knows tools."""
        return self._chat is not None and self._chat.supports_tools

    @property
    def chat_templates(self) -> Mapping[str, str]:
        """Sources of the chat templates by name; empty without any."""
        return self._chat.sources if self._chat is not None else {}

    @cached_property
    def template_variables(self) -> frozenset[str]:
        """The arguments that the chat template reads, ``enable_thinking`` for example."""
        return self._chat.variables if self._chat is not None else frozenset()

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Ids of a text; ``add_special_tokens``: with the model's own opening tokens."""
        ids = self._encode_plain(text)
        return [*self._opening, *ids, *self._closing] if add_special_tokens else ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of tokens; ids without a token are left out."""
        skipped = self.special_token_ids if skip_special_tokens else frozenset()
        detokenizer = Detokenizer(self, continues_text=False, skipped=skipped)
        return "".join(map(detokenizer.add, ids)) + detokenizer.flush()

    def render_chat(self, chat: Chat) -> list[int]:
        """Ids of a conversation, by the model's chat template.

        Raises ``InvalidRequest`` for a conversation that the template refuses and
        ``Unsupported`` for a model without one.
        """
        if self._chat is None:
            raise Unsupported("the model has no chat template", reason="NO_CHAT_TEMPLATE")
        text, guard = self._chat.render(chat)
        texts, controls = self.control_tokens.split(text)
        ids = self._encode_plain(self._gap.join(map(guard.remove, texts)))
        placed = iter(controls)
        return [next(placed).id if i == self._gap_id else i for i in ids]

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes a token stands for; empty for an id without a token."""
        return self.byte_table[token_id] if 0 <= token_id < len(self.byte_table) else b""

    def token_text(self, token_id: int) -> str:
        """The text of a token; empty where its bytes are only a part of a character."""
        try:
            return self.token_bytes(token_id).decode("utf-8")
        except UnicodeDecodeError:
            return ""

    def close(self) -> None:
        """End the process that renders chats; a later ``render_chat`` starts it again."""
        if self._chat is not None:
            self._chat.close()

    def _encode_plain(self, text: str) -> list[int]:
        with native_errors(_cannot_encode):
            ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        if self.control_tokens.ids.isdisjoint(ids):
            return ids
        return [part for token_id in ids for part in self._spelled(token_id)]

    def _spelled(self, token_id: int) -> list[int]:
        """A token, or the tokens that spell it when it is a control token.

        Some models (Unigram ones, and BPE ones that ignore merges) find a control token in
        their vocabulary even when it is not looked for; encoding its halves apart cannot.
        """
        if token_id not in self.control_tokens.ids:
            return [token_id]
        text = self.token_text(token_id)
        apart = self._gap.join(("", text[:1], text[1:]))
        parts: list[int] = self.backend.encode(apart, add_special_tokens=False).ids
        kept = [part for part in parts if part != self._gap_id]
        return [part for part in kept if part not in self.control_tokens.ids]

    def _affixes(self) -> tuple[list[int], list[int]]:
        """The tokens that the backend puts before and after a text."""
        with native_errors(_cannot_encode):
            bare = self.backend.encode("a", add_special_tokens=False).ids
            full = self.backend.encode("a", add_special_tokens=True).ids
        for start in range(len(full) - len(bare) + 1):
            if full[start : start + len(bare)] == bare:
                return full[:start], full[start + len(bare) :]
        raise InternalError("the tokenizer changes a text when it adds its special tokens")


def _cannot_encode(detail: str) -> InternalError:
    return InternalError(f"the model's tokenizer fails on this text: {detail}")
