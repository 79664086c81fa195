"""A request on its way through a worker: where its answers go, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mlxforge.engine.errors import EngineError

from .messages import Answer


class Call:
    """Answers of one call, on one loop; ``ended`` is done after the last one, or an error.

    ``take`` gets each, and says whether it was the last. What it raises ends the call.
    """

    __slots__ = ("_take", "ended", "number")

    def __init__(self, number: int, take: Callable[[Answer], bool]) -> None:
        self.number = number
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take = take

    def put(self, answer: Answer) -> None:
        """The worker answered."""
        if self.ended.done():
            return
        try:
            if self._take(answer):
                self.ended.set_result(None)
        except Exception as error:  # this call's: the frame has answers of others
            self.ended.set_exception(error)

    def fail(self, error: EngineError) -> None:
        """No more will come."""
        if not self.ended.done():
            self.ended.set_exception(error)
