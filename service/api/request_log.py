"""One line of log for each call: who, what, how much, how long, how it ended."""

from __future__ import annotations

import json
import logging

from google.protobuf.message import Message
from google.rpc import code_pb2

from mlxforge.v1 import embedding_pb2, generation_pb2

from .observer import CallEnd, OutputWatch

MAX_PROMPT_CHARS = 2000

_log = logging.getLogger("mlxforge.service.requests")


class RequestLog:
    """Implements ``CallObserver``. No text of a request is logged without ``prompts``.

    A record's attribute ``fields`` has what its line says, by name.
    """

    def __init__(self, *, prompts: bool = False) -> None:
        self._prompts = prompts

    def outputs(self, model_id: str) -> OutputWatch | None:
        """Nothing is logged of single outputs."""
        return None

    def ended(self, end: CallEnd) -> None:
        """Write the line of a call."""
        code = end.code
        level = logging.ERROR if code == code_pb2.INTERNAL else logging.INFO
        if not _log.isEnabledFor(level):
            return
        context, record = end.context, end.context.record
        fields: dict[str, object] = {
            "method": end.method.rpartition(".")[2],
            "principal": context.principal,
            "model": record.model,
            "status": code_pb2.Code.Name(code),
            "reason": end.reason,
            "finish": ",".join(dict.fromkeys(record.finish_reasons)),
            "prompt_tokens": record.prompt_tokens or None,
            "cached_tokens": record.cached_tokens or None,
            "completion_tokens": record.completion_tokens or None,
            "queue_s": _rounded(record.queue_seconds),
            "first_token_s": _rounded(record.first_token_seconds),
            "total_s": _rounded(end.seconds),
        }
        if self._prompts and record.request is not None:
            fields["prompt"] = prompt_of(record.request)[:MAX_PROMPT_CHARS]
        fields = {name: value for name, value in fields.items() if value not in ("", None)}
        words = " ".join(f"{name}={_word(name, value)}" for name, value in fields.items())
        _log.log(
            level,
            "request %s %s",
            context.request_id,
            words,
            extra={"fields": {"request_id": context.request_id, **fields}},
        )


def prompt_of(request: Message) -> str:
    """The text of a request, of its last message where it is a conversation."""
    if isinstance(request, generation_pb2.GenerateRequest):
        source = request.WhichOneof("input")
        if source == "chat":
            return request.chat.messages[-1].content if request.chat.messages else ""
        return request.prompt or str(list(request.prompt_token_ids.ids[:MAX_PROMPT_CHARS]))
    if isinstance(request, embedding_pb2.EmbedRequest):
        return request.inputs[0].text if request.inputs else ""
    return ""


def _word(name: str, value: object) -> object:
    # A caller's text is quoted: it must not look like fields, or like another line.
    return json.dumps(value) if name == "prompt" else value


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
