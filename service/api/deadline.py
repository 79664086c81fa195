"""The deadline of a call over all that it awaits, with one timer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TypeVar

from mlxforge.engine.errors import DeadlineExceeded

T = TypeVar("T")


async def until(deadline: float | None, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """The items, each awaited until ``deadline``, a ``time.monotonic()``.

    Raises ``DeadlineExceeded``. A timer for each item (``asyncio.timeout``) would be a tenth
    of what sending a token costs.
    """
    if deadline is None:
        async for item in items:
            yield item
        return
    alarm = _Alarm(deadline)
    try:
        while True:
            try:
                item = await alarm.next(items)
            except StopAsyncIteration:
                return
            yield item
    finally:
        alarm.close()


class _Alarm:
    """Cancels the task that waits for an item when the deadline passes."""

    def __init__(self, deadline: float) -> None:
        self._waits: asyncio.Task[object] | None = None
        self._passed = False
        self._cancelled_before: int | None = None
        """How often the task had been cancelled by others when this cancelled it."""
        seconds = max(0.0, deadline - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(seconds, self._ring)

    async def next(self, items: AsyncIterator[T]) -> T:
        if self._passed:
            raise _too_late()
        task = self._waits = asyncio.current_task()
        try:
            return await anext(items)
        except asyncio.CancelledError as error:
            # As asyncio.timeout does it: a task that others cancelled too is told of that.
            before = self._cancelled_before
            if before is not None and task is not None and task.uncancel() <= before:
                raise _too_late() from error
            raise
        finally:
            self._waits = None

    def close(self) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        self._passed = True
        if self._waits is not None:
            self._cancelled_before = self._waits.cancelling()
            self._waits.cancel()


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the call's deadline has passed")
