"""Lets calls in, counts them, and turns them away when there are too many or no more."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlxforge.engine.errors import ResourceExhausted, Unavailable


class Gate:
    """Every call of the API passes it; health checks and reflection do not."""

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self._calls: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._last_came = -math.inf
        self.expelled = False
        """Whether the calls were ended by force."""

    @property
    def active(self) -> int:
        """Calls that run."""
        return len(self._calls)

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Counts the current task's call while it runs.

        Raises ``Unavailable`` once closed, ``ResourceExhausted`` beyond the limit.
        """
        self._last_came = time.monotonic()
        if self._closed:
            raise shutting_down()
        if len(self._calls) >= self._max_calls:
            raise ResourceExhausted(
                f"the server already runs {self._max_calls} calls; try again soon",
                reason="TOO_MANY_CALLS",
            )
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call must run in a task")
        self._calls.add(task)
        self._idle.clear()
        try:
            yield
        finally:
            self._calls.discard(task)
            if not self._calls:
                self._idle.set()

    async def drain(self, grace: float) -> bool:
        """Admit no more; wait at most ``grace`` seconds. Whether all calls have ended."""
        self._closed = True
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def expel(self) -> None:
        """Admit no more and end what runs with ``Unavailable``."""
        self._closed = self.expelled = True
        for call in self._calls:
            call.cancel()
        await self._idle.wait()

    async def quiet(self, seconds: float, *, most: float) -> None:
        """Wait until no call has come for ``seconds``, at most ``most`` seconds."""
        end = time.monotonic() + most
        while True:
            left = min(self._last_came + seconds, end) - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(left)


def shutting_down() -> Unavailable:
    """What a call is told that comes, or still runs, when the server goes away."""
    return Unavailable("the server is shutting down; ask another one", reason="DRAINING")
