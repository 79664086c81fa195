"""The way of a request's outputs to whoever asked: pushed as they come, or read one by one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

from .errors import EngineError
from .output import RequestOutput

Put: TypeAlias = Callable[[RequestOutput], None]
"""Takes a request's next output, on the loop that asked; must not block. An error that it
raises ends the request, which then ends with that error."""
Run: TypeAlias = Callable[[Put], Coroutine[Any, Any, None]]
"""Runs a request to its end, or raises its one error. Cancelling it aborts the request."""


class Sink:
    """Where the outputs of one request go; ``ended`` is done after the last, or an error."""

    __slots__ = ("_put", "ended", "left", "loop")

    def __init__(self, put: Put) -> None:
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.left = 0
        """Choices that have not finished; set by who knows, before the first output."""
        self._put = put

    def take(self, item: RequestOutput | EngineError) -> None:
        """The next output or the error. Called on the loop; after the end, nothing happens."""
        if self.ended.done():
            return
        if isinstance(item, EngineError):
            self.ended.set_exception(item)
            return
        try:
            self._put(item)
        except Exception as error:  # this request's: the others of the step are not to blame
            self.ended.set_exception(error)
            return
        if item.finish is not None:
            self.left -= 1
            if not self.left:
                self.ended.set_result(None)

    def close(self) -> None:
        """Take no more. An error that nobody waited for is not complained of."""
        if not self.ended.cancel() and not self.ended.cancelled():
            self.ended.exception()


async def iterate(run: Run) -> AsyncIterator[RequestOutput]:
    """What ``run`` puts, one by one, then its error. Closing the iterator cancels it."""
    outputs: deque[RequestOutput] = deque()
    ready = asyncio.Event()

    def put(output: RequestOutput) -> None:
        outputs.append(output)
        ready.set()

    task = asyncio.create_task(run(put))
    task.add_done_callback(lambda _: ready.set())
    try:
        while outputs or not task.done():
            await ready.wait()
            ready.clear()
            while outputs:
                yield outputs.popleft()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
