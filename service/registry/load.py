"""One load of a model, shared by all who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from mlxforge.engine.errors import Cancelled

if TYPE_CHECKING:
    from mlxforge.engine.loader import Progress, ProgressCallback


class LoadStage(Enum):
    """What a load does."""

    FETCHING = auto()
    READING = auto()
    WARMING_UP = auto()


@dataclass(frozen=True, slots=True)
class LoadStep:
    """How far a load is, in bytes; ``total`` 0: not known."""

    stage: LoadStage
    done: int = 0
    total: int = 0


class Load:
    """A load under way. All but ``report`` belongs to the loop."""

    def __init__(self, listener: ProgressCallback | None) -> None:
        """``listener`` hears of every step, on the thread that makes it."""
        self.step = LoadStep(LoadStage.FETCHING)
        self.kept = False
        """It goes on when nobody waits for it any more."""
        self.cancelled: Exception | None = None
        """Why it is to end."""
        self.task: asyncio.Task[Exception | None]
        """Does the work; its result is what went wrong."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._moved = asyncio.Event()
        self._waiting = 0
        self._starting: asyncio.Future[None] | None = None

    def report(self, progress: Progress) -> None:
        """The engine's ``ProgressCallback``. Raises ``Cancelled`` to end the load."""
        if self.cancelled is not None:
            raise Cancelled("the load was cancelled")
        if self._listener is not None:
            self._listener(progress)
        self._loop.call_soon_threadsafe(self._move, _step_of(progress))

    async def start(self, start: Coroutine[Any, Any, None]) -> None:
        """Run an engine's ``start``; it is cancelled when the load is."""
        self._starting = asyncio.ensure_future(start)
        if self.cancelled is not None:
            self._starting.cancel()
        await asyncio.wait({self._starting})
        if self.cancelled is not None:
            raise self.cancelled
        if self._starting.cancelled():
            raise Cancelled("the load was cancelled")
        self._starting.result()

    def cancel(self, why: Exception) -> None:
        """End it; those who wait for it get ``why``. ``task`` ends once the engine is closed."""
        if self.cancelled is None:
            self.cancelled = why
            if self._starting is not None:
                self._starting.cancel()

    async def watch(self) -> AsyncGenerator[LoadStep, None]:
        """The steps until it is done; what came between two reads is one step.

        Raises what went wrong. Closed early by the last who waits, it cancels the load and
        returns when the memory is free again.
        """
        self._waiting += 1
        try:
            seen: LoadStep | None = None
            while not self.task.done():
                moved = self._moved
                if self.step != seen:
                    seen = self.step
                    yield seen
                else:
                    await _either(self.task, moved)
        finally:
            self._waiting -= 1
            if not (self._waiting or self.kept or self.task.done()):
                self.cancel(Cancelled("the load was cancelled"))
                await asyncio.wait({self.task})
        if (error := self.task.result()) is not None:
            raise error

    def _move(self, step: LoadStep) -> None:
        if step.stage.value < self.step.stage.value:  # a file beside the weights, read late
            return
        self.step = step
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


async def _either(task: asyncio.Task[Any], event: asyncio.Event) -> None:
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()


def _step_of(progress: Progress) -> LoadStep:
    """An engine's step: once the weights are read, its first steps are run."""
    if progress.phase == "download":
        return LoadStep(LoadStage.FETCHING, progress.done, progress.total)
    if progress.total and progress.done >= progress.total:
        return LoadStep(LoadStage.WARMING_UP)
    return LoadStep(LoadStage.READING, progress.done, progress.total)
