"""The worker's side: answers the front's messages with an engine in this process."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Coroutine
from typing import Any, Protocol

from mlxforge.engine.client import EngineClient
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.device import DeviceThread
from mlxforge.engine.errors import EngineError, InternalError
from mlxforge.engine.limits import DEFAULT_LIMITS, Limits
from mlxforge.engine.loader.progress import Progress, ProgressCallback
from mlxforge.engine.output import RequestOutput
from mlxforge.engine.stats import EngineStats
from mlxforge.engine.validation import check_embedding, check_generation

from .link import BadFrame, Link
from .log import LinkHandler
from .messages import (
    Abort,
    Beat,
    Close,
    Detokenize,
    Embed,
    Embedded,
    Generate,
    Load,
    Loaded,
    Loading,
    Message,
    Text,
    Tokenize,
    Tokens,
    ToWorker,
    Vectors,
    failure_of,
    piece_of,
)
from .outbox import Outbox
from .watch import BEAT_SECONDS

_log = logging.getLogger("mlxforge.worker")
_VECTOR_BYTES = 8 * 2**20
_PROGRESS_SECONDS = 0.05


class MakeEngine(Protocol):
    """Makes the engine of a model; ``LocalEngine`` does."""

    def __call__(
        self,
        model_source: str,
        config: EngineConfig,
        /,
        *,
        model_id: str,
        progress: ProgressCallback,
    ) -> EngineClient:
        """An engine, not started."""
        ...


class Host:
    """Serves one front until it says ``Close`` or is gone; then ``done`` is set."""

    def __init__(self, make_engine: MakeEngine) -> None:
        self.done = asyncio.Event()
        self.orphaned = False
        """Whether the front went without a word, or sent garbage."""
        self._make_engine = make_engine
        self._engine: EngineClient | None = None
        self._limits: Limits = DEFAULT_LIMITS
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._worked = time.monotonic()
        self._reported = 0.0

    async def serve(self, link: Link[ToWorker]) -> None:
        """Answer over ``link`` until the end."""
        self._outbox = Outbox(link, self._abort)
        beating = asyncio.create_task(self._beat())
        await self.done.wait()
        beating.cancel()
        if self._engine is not None and not self.orphaned:
            await self._engine.close()
        link.close()

    def received(self, received: list[ToWorker]) -> None:
        """Messages of a frame."""
        for message in received:
            match message:
                case Abort():
                    self._abort(message.call)
                case Close():
                    self.done.set()
                case Load():
                    self._spawn(self._load(message))
                case _:
                    self._start(message)

    def lost(self, fault: BadFrame | None) -> None:
        """The front is gone: nobody needs this process."""
        if fault is not None:  # there is no link for the log to go over
            sys.stderr.write(f"the front sent garbage: {fault}\n")
        self.orphaned = not self.done.is_set()
        self.done.set()

    def refused(self, message: Message, error: EngineError) -> None:
        """A message is too large to travel: its call ends with that."""
        call = getattr(message, "call", None)
        if call is not None:
            self._outbox.send(failure_of(call, error))
            self._abort(call)

    def _abort(self, call: int) -> None:
        task = self._calls.get(call)
        if task is not None:
            task.cancel()

    async def _load(self, load: Load) -> None:
        logging.getLogger("mlxforge").setLevel(load.log_level)
        logging.getLogger().addHandler(LinkHandler(self._outbox.send, self._loop))
        self._limits = load.limits
        engine = self._make_engine(
            load.source, load.config, model_id=load.model_id, progress=self._on_progress
        )
        try:
            await engine.start()
        except Exception as error:
            self._outbox.send(failure_of(0, _engine_error(error)))
            return
        self._engine = engine
        # The model stays as long as the process: looking through it for garbage, every few
        # thousand tokens, stops all rows for 40 ms.
        gc.collect()
        gc.freeze()
        self._outbox.send(Loaded(engine.info))

    def _on_progress(self, progress: Progress) -> None:
        """On any thread. Some loaders report every piece of a file."""
        now = time.monotonic()
        if progress.done < progress.total and now - self._reported < _PROGRESS_SECONDS:
            return
        self._reported = now
        message = Loading(progress.phase, progress.done, progress.total)
        self._loop.call_soon_threadsafe(self._outbox.send, message)

    # Calls.

    def _start(self, message: Generate | Embed | Tokenize | Detokenize) -> None:
        task = self._spawn(self._answer(message))
        self._calls[message.call] = task
        task.add_done_callback(lambda _: self._calls.pop(message.call, None))

    async def _answer(self, message: Generate | Embed | Tokenize | Detokenize) -> None:
        try:
            if self._engine is None:
                raise InternalError("the worker has no model yet")
            match message:
                case Generate():
                    await self._generate(self._engine, message)
                case Embed():
                    await self._embed(self._engine, message)
                case Tokenize():
                    ids, texts = await self._engine.tokenize(
                        message.source, add_special_tokens=message.add_special_tokens
                    )
                    self._outbox.send(Tokens(message.call, tuple(ids), tuple(texts)))
                case Detokenize():
                    text = await self._engine.detokenize(
                        message.token_ids, skip_special_tokens=message.skip_special_tokens
                    )
                    self._outbox.send(Text(message.call, text))
        except Exception as error:
            self._outbox.send(failure_of(message.call, _engine_error(error)))
        self._worked = time.monotonic()

    async def _generate(self, engine: EngineClient, message: Generate) -> None:
        # Checked again: the front may be of any build, and is where requests come from.
        check_generation(message.request, self._limits)
        call, left = message.call, message.request.n

        def put(output: RequestOutput) -> None:
            nonlocal left
            left -= output.finish is not None
            self._outbox.send(piece_of(call, output))

        await engine.run(message.request, put)
        if left:
            raise InternalError(f"{left} choices did not finish")

    async def _embed(self, engine: EngineClient, message: Embed) -> None:
        check_embedding(message.request, self._limits)
        output = await engine.embed(message.request)
        data = output.vectors.astype("<f4", copy=False).tobytes()
        for at in range(0, len(data), _VECTOR_BYTES):
            self._outbox.send(Vectors(message.call, data[at : at + _VECTOR_BYTES]))
        self._outbox.send(Embedded(message.call, output.truncated, output.prompt_tokens))

    # The heart.

    async def _beat(self) -> None:
        while True:
            self._outbox.catch_up()
            engine = self._engine
            if engine is None:
                self._outbox.send(Beat(True, 0.0, EngineStats()))
            else:
                self._outbox.send(Beat(engine.healthy, self._stalled(), engine.stats))
            await asyncio.sleep(BEAT_SECONDS)

    def _stalled(self) -> float:
        """Seconds of the step under way, or for which calls have waited without any step."""
        stepping = DeviceThread.shared().seconds_since_beat
        now = time.monotonic()
        if stepping or not self._calls or self._outbox.answered_since_last():
            self._worked = now
        return max(stepping, now - self._worked)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)  # the loop keeps weak references only
        task.add_done_callback(self._tasks.discard)
        return task


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, EngineError):
        return error
    _log.error("a call failed", exc_info=error)
    return InternalError("internal error; the server's log has it")
