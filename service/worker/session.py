"""One life of a worker: a process, the connection to it, and the calls it works on."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.errors import EngineError, Unavailable
from mlxforge.engine.limits import Limits
from mlxforge.engine.loader.progress import Progress, ProgressCallback
from mlxforge.engine.output import ModelInfo
from mlxforge.engine.stats import EngineStats

from . import messages
from .call import Call
from .config import WorkerConfig
from .link import BadFrame, Link
from .messages import (
    Abort,
    Answer,
    Beat,
    Close,
    Failure,
    Load,
    Loaded,
    Loading,
    Log,
    Message,
    ToFront,
)
from .process import WorkerProcess
from .watch import BEAT_SECONDS, Watch

_log = logging.getLogger("mlxforge.worker")

MAX_BACKLOG_BYTES = 64 * 2**20
"""Of requests that a worker has not read; more are turned away."""
_NAME_CHARS = 200
_GOING_SECONDS = 0.5
_BUSY_LOOK_SECONDS = 0.05
"""How often a worker with calls is looked at; one without, with every heartbeat."""


class WorkerDied(EngineError):
    """The worker's process has gone; the message says how. Not for clients."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a worker is to load, and how it is kept."""

    source: str
    id: str
    engine: EngineConfig
    limits: Limits
    worker: WorkerConfig
    command: Sequence[str]
    progress: ProgressCallback | None = None


class Session:
    """A worker from its start to its end; ``ended`` is done at the end, and never fails.

    ``changed`` is called when ``healthy`` may have changed.
    """

    def __init__(self, model: Model, changed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.model = model
        self.stats = EngineStats()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.load_seconds = 0.0
        self._changed = changed
        self._calls: dict[int, Call] = {}
        self._numbers = itertools.count(1)
        self._loaded: asyncio.Future[ModelInfo] = loop.create_future()
        self._loaded_at: float | None = None
        self._process: WorkerProcess | None = None
        self._link: Link[ToFront] | None = None
        self._watch = Watch(model.worker)
        self._watching: asyncio.Task[None] | None = None
        self._reason = "WORKER_DIED"
        self._fault = ""

    @property
    def pid(self) -> int | None:
        """The worker's process id, once it has one."""
        return self._process.pid if self._process is not None else None

    @property
    def live(self) -> int:
        """Calls that have not ended."""
        return len(self._calls)

    @property
    def healthy(self) -> bool:
        """Whether the model is loaded and the worker as it should be."""
        return self._loaded_at is not None and not self.ended.done() and self._watch.healthy

    @property
    def seconds_served(self) -> float:
        """Since the model was loaded."""
        return 0.0 if self._loaded_at is None else time.monotonic() - self._loaded_at

    async def load(self) -> ModelInfo:
        """Start the process and load the model. Raises what the load did, or ``WorkerDied``."""
        started = time.monotonic()
        try:
            await self._start()
        except OSError as error:  # no descriptor, memory or process left
            raise WorkerDied(f"cannot be started: {error}") from error
        self._watching = asyncio.create_task(self._keep_watch())
        model = self.model
        level = logging.getLogger("mlxforge").getEffectiveLevel()
        self._send(Load(model.source, model.id, model.engine, model.limits, level))
        info = await self._loaded
        self._loaded_at = time.monotonic()
        self.load_seconds = self._loaded_at - started
        self._watch.start()
        return info

    def open(self, make: Callable[[int], Message], take: Callable[[Answer], bool]) -> Call:
        """Send a call, ``take`` as for ``Call``. Raises ``Unavailable``."""
        if self.ended.done():
            raise self._gone()
        if self._link is not None and self._link.backlog > MAX_BACKLOG_BYTES:
            raise Unavailable(
                f"the worker of {self.model.id} does not take more requests now; try again soon",
                reason="WORKER_BUSY",
            )
        call = Call(next(self._numbers), take)
        self._calls[call.number] = call
        self._send(make(call.number))
        return call

    def end(self, call: Call, *, over: bool) -> None:
        """Forget a call; unless its answer was complete (``over``), the worker is told."""
        if self._calls.pop(call.number, None) is not None and not over:
            self._send(Abort(call.number))

    def fail_calls(self, error: EngineError) -> None:
        """End all calls. Nothing more is heard of them."""
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.fail(error)

    async def close(self) -> None:
        """Have the worker end, and see to it that it does."""
        self._send(Close())
        await self._finish(self.model.worker.close_seconds)

    async def kill(self) -> str:
        """End the process at once; how it ended, in words. One that is ending may say why."""
        if self._process is not None:
            await self._process.end(0.0 if self._fault or not self.ended.done() else _GOING_SECONDS)
            how = await self._process.wait()
            await self._finish(0)
            return f"{self._fault}: {how}" if self._fault else how
        return self._fault

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = WorkerProcess(self.model.command, theirs, self.model.id)
            self._link = await Link.open(
                ours, messages.to_front, self._received, self._on_lost, self._refused
            )
        except BaseException:
            ours.close()
            raise

    async def _finish(self, seconds: float) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._process is not None:
            await self._process.end(seconds)
        if self._link is not None:
            self._link.close()

    def _send(self, message: Message) -> None:
        if self._link is not None:
            self._link.send(message)

    def _on_lost(self, fault: BadFrame | None) -> None:
        """The socket has closed."""
        if fault is not None:
            self._give_up(f"it sent garbage ({fault})")
        self._end()

    def _end(self) -> None:
        """The worker is of no more use: all who wait are told, at once."""
        if self.ended.done():
            return
        self.ended.set_result(None)
        self.fail_calls(self._gone())
        if not self._loaded.done():
            self._loaded.set_exception(WorkerDied(f"the worker of {self.model.id} ended"))
            self._loaded.exception()  # nobody may be waiting for it
        self._changed()

    def _gone(self) -> Unavailable:
        what = "does not respond" if self._reason == "WORKER_HUNG" else "ended"
        return Unavailable(
            f"the process of model {self.model.id} {what}; it is started again",
            reason=self._reason,
            retry_after=max(1.0, self.load_seconds),
        )

    def _give_up(self, fault: str) -> None:
        """Kill the process."""
        _log.error("[%s] worker %s is killed: %s", self.model.id, self.pid, fault)
        self._fault = fault
        if self._process is not None:
            self._process.kill()
        self._end()

    async def _keep_watch(self) -> None:
        """Look after the worker until it has ended."""
        was = True
        while not self.ended.done():
            pause = _BUSY_LOOK_SECONDS if self._calls else BEAT_SECONDS
            await asyncio.sleep(pause)
            if self._process is not None and self._process.exiting:
                self._end()
                return
            fault = self._watch.fault(pause)
            if fault:
                self._reason = "WORKER_HUNG"
                self._give_up(fault)
                return
            if was != self._watch.healthy:
                was = not was
                if not was:
                    _log.warning("[%s] worker %s does not respond", self.model.id, self.pid)
                self._changed()

    def _refused(self, message: Message, error: EngineError) -> None:
        call = self._calls.pop(getattr(message, "call", 0), None)
        if call is not None:
            call.fail(error)
        else:
            self._give_up(error.message)

    def _received(self, received: list[ToFront]) -> None:
        self._watch.heard()
        calls = self._calls
        for message in received:
            if isinstance(message, (Loaded, Loading, Beat, Log)):
                self._take_news(message)
            elif isinstance(message, Failure):
                self._take_failure(message)
            else:
                call = calls.get(message.call)
                if call is not None:
                    call.put(message)

    def _take_failure(self, failure: Failure) -> None:
        error = messages.error_of(failure)
        if failure.call == 0:
            if not self._loaded.done():
                self._loaded.set_exception(error)
            return
        call = self._calls.pop(failure.call, None)
        if call is not None:
            call.fail(error)

    def _take_news(self, message: Loaded | Loading | Beat | Log) -> None:
        match message:
            case Beat():
                self.stats = message.stats
                self._watch.beat(message)
            case Loaded():
                if not self._loaded.done():
                    self._loaded.set_result(message.info)
            case Loading():
                if self.model.progress is not None:
                    self._report(Progress(message.phase, message.done, message.total))
            case Log():
                self._log(message)

    def _report(self, progress: Progress) -> None:
        if self.model.progress is None or self._loaded.done():
            return
        try:
            self.model.progress(progress)
        except Exception as error:  # the callback ends the load so
            self._loaded.set_exception(error)

    def _log(self, message: Log) -> None:
        logger = logging.getLogger(message.logger[:_NAME_CHARS])
        if logger.isEnabledFor(message.level):
            logger.log(message.level, "[%s] %s", self.model.id, message.text)
