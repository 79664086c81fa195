"""What a call knows of itself, whichever door it came through."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from mlxforge.engine.errors import PermissionDenied

_TRANSIT_SECONDS = 0.05


def new_request_id() -> str:
    """A fresh id of a request: made here, never taken from a client."""
    return f"req_{secrets.token_hex(12)}"


@dataclass(slots=True)
class CallRecord:
    """What there is to say of a call once it has ended."""

    request: Message | None = None
    """What was asked, of calls that generate or embed once."""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    queue_seconds: float | None = None
    first_token_seconds: float | None = None
    finish_reasons: list[str] = field(default_factory=list)
    """Of the choices, in the order they ended."""
    started: float = field(default_factory=time.perf_counter)
    last_output: float | None = None
    """``time.perf_counter()`` of the newest output of the first choice."""


@dataclass(frozen=True, slots=True)
class CallContext:
    """One call: ``deadline`` is a ``time.monotonic()`` value."""

    request_id: str = field(default_factory=new_request_id)
    """In logs, traces and answers. A caller may choose it, even one that others chose."""
    own_id: str = ""
    """An id of ours where the caller chose ``request_id``."""
    deadline: float | None = None
    principal: str = ""
    """Who calls, by name; "": anyone."""
    tenant: str = ""
    """Cached prefixes are shared within a tenant only."""
    models: frozenset[str] = frozenset()
    """The only models the caller may use; empty: all."""
    trace: dict[str, str] = field(default_factory=dict)
    """The caller's place in a trace: W3C's ``traceparent`` and ``tracestate``."""
    record: CallRecord = field(default_factory=CallRecord, compare=False)

    @classmethod
    def with_timeout(cls, seconds: float | None, **fields: Any) -> CallContext:
        """A call that has so many seconds from now; None: no limit."""
        deadline = None if seconds is None else time.monotonic() + seconds
        return cls(deadline=deadline, **fields)

    def use(self, model_id: str) -> None:
        """Note the model that the call uses. Raises ``PermissionDenied``."""
        self.record.model = model_id
        if self.models and model_id not in self.models:
            raise PermissionDenied(
                f"{self.principal} may not use model {model_id}, only: "
                f"{', '.join(sorted(self.models))}",
                reason="MODEL_NOT_ALLOWED",
            )

    @property
    def engine_id(self) -> str:
        """What engines call the request: no other running one has it."""
        return self.own_id or self.request_id

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed, here or at the client.

        A client counts from when it sent the call, we from when it came: its cancel may be first.
        """
        return self.deadline is not None and time.monotonic() >= self.deadline - _TRANSIT_SECONDS
