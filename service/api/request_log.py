"""One line of log for each call: who, what, how much, how long, how it ended."""

from __future__ import annotations

import asyncio
import logging

from google.rpc import code_pb2

from mlxforge.engine.errors import EngineError

from ..errors import code_of
from .context import CallContext

_log = logging.getLogger("mlxforge.service.requests")


def log_call(
    method: str, context: CallContext, seconds: float, error: BaseException | None
) -> None:
    """Write the line of a call that has ended. No text of the request is in it."""
    code = _code(context, error)
    level = logging.ERROR if code == code_pb2.INTERNAL else logging.INFO
    if not _log.isEnabledFor(level):
        return
    record = context.record
    fields: dict[str, object] = {
        "method": method.rpartition(".")[2],
        "principal": context.principal,
        "model": record.model,
        "status": code_pb2.Code.Name(code),
        "reason": error.reason if isinstance(error, EngineError) else "",
        "finish": record.finish_reason,
        "prompt_tokens": record.prompt_tokens or None,
        "cached_tokens": record.cached_tokens or None,
        "completion_tokens": record.completion_tokens or None,
        "queue_s": _rounded(record.queue_seconds),
        "first_token_s": _rounded(record.first_token_seconds),
        "total_s": _rounded(seconds),
    }
    words = " ".join(f"{name}={value}" for name, value in fields.items() if value not in ("", None))
    _log.log(level, "request %s %s", context.request_id, words)


def _code(context: CallContext, error: BaseException | None) -> code_pb2.Code:
    if error is None:
        return code_pb2.OK
    if isinstance(error, EngineError):
        return code_of(error)
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return code_pb2.DEADLINE_EXCEEDED if context.expired else code_pb2.CANCELLED
    return code_pb2.INTERNAL


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
