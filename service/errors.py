"""The one table from engine errors to statuses, for both doors.

A status is a ``google.rpc.Status``: gRPC sends it in the trailer
``grpc-status-details-bin``, the C library returns it from ``mlxforge_error_details``.
Each carries one ``ErrorInfo`` of the domain ``mlxforge``; ``BadRequest`` names the
fields of an invalid request, ``RetryInfo`` says when to come back.
"""

from __future__ import annotations

import asyncio
import logging

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from mlxforge.engine.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineError,
    InternalError,
    InvalidRequest,
    LoadError,
    ModelNotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Unsupported,
)

DOMAIN = "mlxforge"

CODES: dict[type[EngineError], int] = {
    InvalidRequest: code_pb2.INVALID_ARGUMENT,
    ModelNotFound: code_pb2.NOT_FOUND,
    Unsupported: code_pb2.FAILED_PRECONDITION,
    LoadError: code_pb2.FAILED_PRECONDITION,
    Unauthenticated: code_pb2.UNAUTHENTICATED,
    PermissionDenied: code_pb2.PERMISSION_DENIED,
    ResourceExhausted: code_pb2.RESOURCE_EXHAUSTED,
    DeadlineExceeded: code_pb2.DEADLINE_EXCEEDED,
    Cancelled: code_pb2.CANCELLED,
    Unavailable: code_pb2.UNAVAILABLE,
    Unimplemented: code_pb2.UNIMPLEMENTED,
    InternalError: code_pb2.INTERNAL,
    EngineError: code_pb2.INTERNAL,
}

# gRPC clients refuse response metadata beyond 8 KiB (the default of
# grpc.max_metadata_size): an answer that names every one of a thousand bad fields would
# arrive as a transport error. Messages travel percent-encoded, details in base64.
MAX_MESSAGE_BYTES = 1536
MAX_VIOLATIONS_BYTES = 3072
MAX_DESCRIPTION_BYTES = 512

_log = logging.getLogger("mlxforge.service.errors")


def code_of(error: EngineError) -> int:
    """The ``google.rpc.Code`` of an error (its own class's or its nearest base's)."""
    return next(CODES[cls] for cls in type(error).__mro__ if cls in CODES)


def status_of(error: EngineError, request_id: str = "") -> status_pb2.Status:
    """The status of an error, with its details. ``request_id`` goes into the ErrorInfo."""
    status = status_pb2.Status(
        code=code_of(error), message=_cut_encoded(error.message, MAX_MESSAGE_BYTES)
    )
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    if request_id:
        info.metadata["request_id"] = request_id
    _pack(status, info)
    if isinstance(error, InvalidRequest):
        _pack(status, _bad_request(error))
    if isinstance(error, (ResourceExhausted, Unavailable)) and error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMicroseconds(round(error.retry_after * 1e6))
        _pack(status, error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def engine_error(error: BaseException, request_id: str) -> EngineError:
    """Whatever a call ended with, as an ``EngineError``.

    What the table does not know is a fault of ours: it is logged with its traceback, and
    the caller learns no more than the request's id.
    """
    if isinstance(error, EngineError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return Cancelled("the call was cancelled")
    _log.error("request %s failed", request_id, exc_info=error)
    return InternalError(f"internal error; the server's log has it under request {request_id}")


def _bad_request(error: InvalidRequest) -> error_details_pb2.BadRequest:
    details = error_details_pb2.BadRequest()
    for violation in error.violations:
        details.field_violations.add(
            field=_cut(violation.field, MAX_DESCRIPTION_BYTES),
            description=_cut(violation.description, MAX_DESCRIPTION_BYTES),
        )
        if details.ByteSize() > MAX_VIOLATIONS_BYTES:
            del details.field_violations[-1]
            break
    return details


def _pack(status: status_pb2.Status, detail: Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def _cut(text: str, limit: int) -> str:
    """The text in at most ``limit`` bytes of UTF-8."""
    data = text.encode(errors="replace")
    return text if len(data) <= limit else data[: limit - 3].decode(errors="ignore") + "…"


def _cut_encoded(text: str, limit: int) -> str:
    """The text in at most ``limit`` bytes of percent-encoded UTF-8, as gRPC sends it."""
    size = 0
    for i, char in enumerate(text):
        size += 1 if " " <= char <= "~" and char != "%" else 3 * len(char.encode(errors="replace"))
        if size > limit - 9:
            return text[:i] + "…"
    return text
