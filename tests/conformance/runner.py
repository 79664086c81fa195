"""A runner: one program per language that makes calls when told to, over one door.

The protocol is lines of text; see README.md.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from .cases import METHODS, Step
from .outcome import Outcome, outcome_of

START_SECONDS = 120.0
CALL_SECONDS = 120.0
LINE_BYTES = 64 * 2**20


class RunnerError(Exception):
    """The runner did not start, died or broke the protocol."""


@dataclass
class _Call:
    rpc: str
    ended: asyncio.Future[Outcome]
    messages: list[str] = field(default_factory=list)


class Runner:
    """A running runner. ``async with`` starts and ends it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._calls: dict[str, _Call] = {}
        self._last_id = 0
        self._gone: RunnerError | None = None

    async def __aenter__(self) -> Runner:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **self._environment},
            limit=LINE_BYTES,
        )
        first = await asyncio.wait_for(self._line(), START_SECONDS)
        if first != "ready":
            raise RunnerError(f"{self._command[0]} said {first!r}, not ready")
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            code = await asyncio.wait_for(self._process.wait(), 30)
        except TimeoutError:
            self._process.kill()
            raise RunnerError("the runner does not end when its input does") from None
        self._reading.cancel()
        if code and error is None and self._gone is None:
            raise RunnerError(f"the runner ended with {code}")

    async def call(self, step: Step, requests: Sequence[Any]) -> Outcome:
        """Make a call and wait for its end. Raises ``RunnerError``."""
        if self._gone is not None:
            raise self._gone
        self._last_id += 1
        call_id = str(self._last_id)
        method = METHODS[step.rpc]
        name = f"{method.containing_service.full_name}/{method.name}"
        head = f"call {call_id} {name} {step.timeout_ms} {step.cancel_after} {len(requests)}"
        lines = [head, *(json.dumps(request, ensure_ascii=True) for request in requests)]
        call = _Call(step.rpc, asyncio.get_running_loop().create_future())
        self._calls[call_id] = call
        assert self._process.stdin is not None
        self._process.stdin.write(("\n".join(lines) + "\n").encode())
        await self._process.stdin.drain()
        return await asyncio.wait_for(call.ended, CALL_SECONDS)

    async def _read(self) -> None:
        try:
            while line := await self._line():
                kind, call_id, rest = line.split(" ", 2)
                call = self._calls[call_id]
                if kind == "message":
                    call.messages.append(rest)
                elif kind == "end":
                    code, error = rest.split(" ", 1)
                    del self._calls[call_id]
                    outcome = outcome_of(call.rpc, call.messages, int(code), json.loads(error))
                    if not call.ended.done():  # nobody waits for it: the time was up
                        call.ended.set_result(outcome)
                else:
                    raise RunnerError(f"the runner said {line[:100]!r}")
            raise RunnerError("it has gone")
        except Exception as error:
            self._gone = RunnerError(f"the runner failed: {error!r}")
            for call in self._calls.values():
                if not call.ended.done():
                    call.ended.set_exception(self._gone)

    async def _line(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().rstrip("\n")
