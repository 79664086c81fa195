"""Who watches calls: logs, metrics and traces are told of each when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from google.rpc import code_pb2

from mlxforge.engine.errors import EngineError

from ..errors import code_of
from .context import CallContext


@dataclass(frozen=True, slots=True)
class CallEnd:
    """A call that has ended: ``method`` is ``package.Service/Method`` of the schema."""

    method: str
    context: CallContext
    seconds: float
    error: BaseException | None = None

    @property
    def code(self) -> code_pb2.Code:
        """The ``google.rpc.Code`` it ended with."""
        if self.error is None:
            return code_pb2.OK
        if isinstance(self.error, EngineError):
            return code_of(self.error)
        if isinstance(self.error, (asyncio.CancelledError, GeneratorExit)):
            expired = self.context.expired
            return code_pb2.DEADLINE_EXCEEDED if expired else code_pb2.CANCELLED
        return code_pb2.INTERNAL

    @property
    def reason(self) -> str:
        """The error's ``ErrorInfo.reason``."""
        return self.error.reason if isinstance(self.error, EngineError) else ""


@dataclass(frozen=True, slots=True)
class OutputWatch:
    """Takes the times, in seconds, of one model's streams."""

    first: Callable[[float], None]
    """From the call's arrival to its first output."""
    gap: Callable[[float], None]
    """Between two outputs of a choice."""


class CallObserver(Protocol):
    """Told on the loop that serves; must be quick and must not raise."""

    def ended(self, end: CallEnd) -> None:
        """A call has ended, whichever way."""
        ...

    def outputs(self, model_id: str) -> OutputWatch | None:
        """Who wants the times of a stream's outputs, if anybody does."""
        ...
