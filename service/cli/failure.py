"""How the command line fails: one clear line, what to do next, and an exit code."""

from __future__ import annotations

import enum
import json
import sys

from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2


class ExitCode(enum.IntEnum):
    """What a script may rely on (``mlxforge --help`` shows them)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    NO_MODEL = 4
    TIMEOUT = 5
    INTERRUPTED = 130


EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 failed; 2 wrong use, setting or request; 3 no server, or it is busy "
    "(try again); 4 no such model, or it cannot be loaded; 5 out of time; 130 interrupted."
)

_EXIT_CODES = {
    code_pb2.INVALID_ARGUMENT: ExitCode.USAGE,
    code_pb2.FAILED_PRECONDITION: ExitCode.USAGE,
    code_pb2.UNIMPLEMENTED: ExitCode.USAGE,
    code_pb2.PERMISSION_DENIED: ExitCode.USAGE,
    code_pb2.UNAUTHENTICATED: ExitCode.USAGE,
    code_pb2.UNAVAILABLE: ExitCode.UNAVAILABLE,
    code_pb2.RESOURCE_EXHAUSTED: ExitCode.UNAVAILABLE,
    code_pb2.NOT_FOUND: ExitCode.NO_MODEL,
    code_pb2.DEADLINE_EXCEEDED: ExitCode.TIMEOUT,
    code_pb2.CANCELLED: ExitCode.INTERRUPTED,
}
_HINTS = {
    code_pb2.UNAUTHENTICATED: "give the server's token as MLXFORGE_TOKEN",
    code_pb2.PERMISSION_DENIED: "ask the server's operator for a token that allows it",
    code_pb2.UNAVAILABLE: "try again in a moment",
    code_pb2.RESOURCE_EXHAUSTED: "try again in a moment, or ask for less",
    code_pb2.NOT_FOUND: "`mlxforge models` lists the models",
    code_pb2.DEADLINE_EXCEEDED: "give it longer with --timeout",
    code_pb2.INTERNAL: "the server's log says more",
}


class CommandError(Exception):
    """Ends a command. ``hint`` says what to do next."""

    def __init__(self, message: str, hint: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code

    def as_json(self) -> str:
        """For --json: one object on one line."""
        error = {"message": self.message, "hint": self.hint, "exit_code": int(self.code)}
        return json.dumps({"error": error})


class CallError(CommandError):
    """A call ended with a status, through either door."""

    def __init__(self, status: status_pb2.Status) -> None:
        code = _EXIT_CODES.get(status.code, ExitCode.FAILED)
        self.status = status
        info = error_details_pb2.ErrorInfo()
        self.reason = info.reason if _unpack(status, info) else ""
        if self.reason == "MODEL_LOAD_FAILED":
            code = ExitCode.NO_MODEL
        super().__init__(_described(status), _HINTS.get(status.code, ""), code)

    def as_json(self) -> str:
        """For --json: the status, too."""
        error = {
            "status": code_pb2.Code.Name(self.status.code),
            "reason": self.reason,
            "message": self.status.message,
            "field_violations": [
                {"field": v.field, "description": v.description} for v in _violations(self.status)
            ],
            "hint": self.hint,
            "exit_code": int(self.code),
        }
        return json.dumps({"error": error})


def report(error: CommandError, *, as_json: bool) -> None:
    """Say on stderr what went wrong."""
    if as_json:
        print(error.as_json(), file=sys.stderr)
        return
    print(f"mlxforge: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  → {error.hint}", file=sys.stderr)


def _described(status: status_pb2.Status) -> str:
    violations = _violations(status)
    if not violations:
        return str(status.message)
    lines = [f"{v.field} {v.description}" for v in violations]
    return "wrong request: " + "\n          ".join(lines)


def _violations(
    status: status_pb2.Status,
) -> list[error_details_pb2.BadRequest.FieldViolation]:
    details = error_details_pb2.BadRequest()
    return list(details.field_violations) if _unpack(status, details) else []


def _unpack(status: status_pb2.Status, into: Message) -> bool:
    return any(detail.Unpack(into) for detail in status.details)
