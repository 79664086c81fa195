"""``mlxforge.v1.TokenizerService``."""

from __future__ import annotations

from dataclasses import dataclass

from mlxforge.engine.errors import FieldViolation, InvalidRequest
from mlxforge.engine.limits import Limits
from mlxforge.engine.request import Chat
from mlxforge.engine.validation import (
    chat_violations,
    ids_violations,
    raise_if_any,
    text_violations,
)
from mlxforge.v1 import tokenizer_pb2

from ..registry import Registry
from .chat import chat_of
from .context import CallContext


@dataclass(frozen=True, slots=True)
class TokenizerService:
    """Tokenizes with the registry's models."""

    registry: Registry
    limits: Limits

    async def tokenize(
        self, message: tokenizer_pb2.TokenizeRequest, context: CallContext
    ) -> tokenizer_pb2.TokenizeResponse:
        """The tokens of a text or a conversation."""
        entry = self.registry.tokenizer(message.model)
        context.use(entry.id)
        source = self._source(message)
        special = message.add_special_tokens if message.HasField("add_special_tokens") else True
        async with self.registry.use(entry) as engine:
            ids, tokens = await engine.tokenize(source, add_special_tokens=special)
        context.record.prompt_tokens = len(ids)
        return tokenizer_pb2.TokenizeResponse(token_ids=ids, tokens=tokens, count=len(ids))

    async def detokenize(
        self, message: tokenizer_pb2.DetokenizeRequest, context: CallContext
    ) -> tokenizer_pb2.DetokenizeResponse:
        """The text of tokens."""
        entry = self.registry.tokenizer(message.model)
        context.use(entry.id)
        raise_if_any(ids_violations("token_ids", message.token_ids, self.limits))
        ids = tuple(message.token_ids)
        skip = message.skip_special_tokens if message.HasField("skip_special_tokens") else True
        async with self.registry.use(entry) as engine:
            text = await engine.detokenize(ids, skip_special_tokens=skip)
        return tokenizer_pb2.DetokenizeResponse(text=text)

    def _source(self, message: tokenizer_pb2.TokenizeRequest) -> str | Chat:
        match message.WhichOneof("input"):
            case "text":
                raise_if_any(text_violations("text", message.text, self.limits))
                return message.text
            case "chat":
                violations: list[FieldViolation] = []
                chat = chat_of(message.chat, violations)
                raise_if_any([*violations, *chat_violations(chat, self.limits)])
                return chat
            case _:
                raise InvalidRequest.of("text", "one of text and chat must be set")
