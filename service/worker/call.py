"""A request on its way through a worker: what came of it and was not taken yet."""

from __future__ import annotations

import asyncio

from mlxforge.engine.errors import EngineError

from .messages import Answer


class Call:
    """Answers of one call. Used on one loop; one task takes."""

    __slots__ = ("_answers", "_error", "_waiter", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._answers: list[Answer] = []
        self._error: EngineError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, answer: Answer) -> None:
        """The worker answered."""
        self._answers.append(answer)
        self._wake()

    def fail(self, error: EngineError) -> None:
        """No more will come. What came before is taken first."""
        self._error = error
        self._wake()

    async def take(self) -> list[Answer]:
        """All that came since the last time, at least one. Raises the call's error."""
        while not self._answers:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        taken, self._answers = self._answers, []
        return taken

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
