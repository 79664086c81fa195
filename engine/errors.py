"""Everything that can go wrong in the engine, as one exception tree.

Nothing here knows of gRPC or C. ``mlxforge.service.errors`` holds the one table
that turns these into status codes, for both doors.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one field of a request.

    ``field`` is its path as the schema spells it, for example
    ``sampling_params.top_p`` or ``chat.messages[2].role``.
    """

    field: str
    description: str


class EngineError(Exception):
    """Base of all errors a request can end with.

    ``reason`` is a stable UPPER_SNAKE word for programs; the message is for people
    and says what to do next.
    """

    reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason


class InvalidRequest(EngineError):
    """The request is wrong, whatever the state of the engine."""

    reason = "INVALID_REQUEST"

    def __init__(self, *violations: FieldViolation) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = violations

    @classmethod
    def of(cls, field: str, description: str) -> InvalidRequest:
        """An error of one field."""
        return cls(FieldViolation(field, description))


class ModelNotFound(EngineError):
    """No model of that name is loaded or can be loaded."""

    reason = "MODEL_NOT_FOUND"


class Unsupported(EngineError):
    """The model, or this build, cannot do what is asked."""

    reason = "UNSUPPORTED"


class Unauthenticated(EngineError):
    """Nobody we know calls: no token, or none of ours."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(EngineError):
    """The caller is known and may not do this."""

    reason = "PERMISSION_DENIED"


class ResourceExhausted(EngineError):
    """A queue, memory or a quota is full. ``retry_after`` is in seconds, None: never fits."""

    reason = "RESOURCE_EXHAUSTED"

    def __init__(
        self, message: str, *, reason: str | None = None, retry_after: float | None = 1.0
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


def queue_full(max_waiting: int) -> ResourceExhausted:
    """What a request is told for which the waiting queue has no place."""
    return ResourceExhausted(
        f"{max_waiting} requests are waiting already; try later", reason="QUEUE_FULL"
    )


class DeadlineExceeded(EngineError):
    """The request's time ran out."""

    reason = "DEADLINE_EXCEEDED"


class Cancelled(EngineError):
    """The request was aborted by its caller or by the engine's closing."""

    reason = "CANCELLED"


class Unavailable(EngineError):
    """The model is loading, restarting or going away. ``retry_after`` is in seconds."""

    reason = "UNAVAILABLE"

    def __init__(
        self, message: str, *, reason: str | None = None, retry_after: float = 1.0
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class InternalError(EngineError):
    """A fault of ours: the request could not be finished."""

    reason = "INTERNAL"


class LoadError(EngineError):
    """The model's files cannot be used: missing, damaged or of an unknown architecture."""

    reason = "MODEL_LOAD_FAILED"


class Unimplemented(EngineError):
    """The schema has it, this version does not answer it yet."""

    reason = "UNIMPLEMENTED"
