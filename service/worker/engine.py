"""An engine in a process of its own, kept alive: the front's side of ``EngineClient``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from mlxforge.engine.client import EngineClient
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.errors import (
    Cancelled,
    EngineError,
    InternalError,
    LoadError,
    Unavailable,
    queue_full,
)
from mlxforge.engine.limits import DEFAULT_LIMITS, Limits
from mlxforge.engine.loader.progress import ProgressCallback
from mlxforge.engine.output import EmbeddingOutput, ModelInfo
from mlxforge.engine.request import Chat, EmbeddingRequest, GenerationRequest
from mlxforge.engine.stats import EngineStats
from mlxforge.engine.stream import Put

from .backoff import Backoff
from .call import Call
from .config import WorkerConfig
from .messages import (
    Answer,
    Detokenize,
    Embed,
    Embedded,
    Generate,
    Message,
    Piece,
    Text,
    Tokenize,
    Tokens,
    Vectors,
    output_of,
)
from .process import COMMAND
from .session import Model, Session, WorkerDied

_log = logging.getLogger("mlxforge.worker")
_STEADY_SECONDS = 30.0
_LIVES_DELAY = 1.0
"""Longest pause after a worker that had loaded: its load takes longer than that anyway."""
A = TypeVar("A", bound=Message)


class WorkerEngine(EngineClient):
    """Implements ``EngineClient`` by a child process that hosts a ``LocalEngine``.

    When the process dies or hangs its requests end with ``Unavailable``, and it is started
    again, with growing pauses. ``changed`` is called when ``healthy`` or ``failure`` may have
    changed, with the latter. Its loop is the one that called ``start``.
    """

    def __init__(
        self,
        model_source: str,
        config: EngineConfig | None = None,
        *,
        model_id: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        worker: WorkerConfig | None = None,
        progress: ProgressCallback | None = None,
        changed: Callable[[EngineError | None], None] = lambda failure: None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """No process is started before ``start``. ``command`` hosts the engine."""
        self.model_id = model_id or model_source.rstrip("/").rsplit("/", 1)[-1]
        self.failure: EngineError | None = None
        """Why the model, once loaded, cannot be loaded again; it is still tried."""
        self._model = Model(
            model_source,
            self.model_id,
            config or EngineConfig(),
            limits,
            worker or WorkerConfig(),
            command,
            progress,
        )
        self._on_change = changed
        self._session: Session | None = None
        self._launching: Session | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._info: ModelInfo | None = None
        self._restarts = 0
        self._live = 0
        self._generating = 0
        self._rejected = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._closed = False

    @property
    def info(self) -> ModelInfo:
        """See ``EngineClient.info``. It stays while the worker is started again."""
        if self._info is None:
            raise self._unavailable()
        return self._info

    @property
    def healthy(self) -> bool:
        """See ``EngineClient.healthy``."""
        return self._session is not None and self._session.healthy and not self._draining

    @property
    def stats(self) -> EngineStats:
        """See ``EngineClient.stats``: as of the last heartbeat, a quarter of a second ago."""
        stats = self._session.stats if self._session is not None else EngineStats()
        return replace(stats, restarts=self._restarts, rejected=stats.rejected + self._rejected)

    @property
    def _room(self) -> int:
        """Requests that the worker has rows and a queue for."""
        engine = self._model.engine
        return engine.max_running_requests + engine.max_waiting_requests

    @property
    def pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._session.pid if self._session is not None else None

    async def start(self) -> None:
        """See ``EngineClient.start``. Raises ``LoadError`` also when the worker dies of it.

        May be called again after it failed.
        """
        attempts = max(1, self._model.worker.load_attempts)
        backoff = Backoff(self._model.worker.max_restart_delay)
        while self._session is None:
            attempts -= 1
            try:
                self._session = await self._launch()
            except WorkerDied as death:
                _log.error("[%s] %s", self.model_id, death.message)
                if not attempts:
                    raise self._load_error(death) from death
                await asyncio.sleep(backoff.next())
        self._model = replace(self._model, progress=None)  # of this load alone
        self._supervisor = asyncio.create_task(self._supervise(self._session))
        self._changed()

    async def run(self, request: GenerationRequest, put: Put) -> None:
        """See ``EngineClient.run``.

        What the worker could only turn away is turned away here: under a load many times too
        high it would read, and refuse, each request before it comes to its next step.
        """
        if self._generating >= self._room:
            self._rejected += 1
            raise queue_full(self._model.engine.max_waiting_requests)
        left = request.n

        def take(answer: Answer) -> bool:
            nonlocal left
            output = output_of(request.request_id, _expect(answer, Piece))
            left -= output.finish is not None
            put(output)
            return not left

        self._generating += 1
        try:
            await self._ask(lambda number: Generate(number, request), take)
        finally:
            self._generating -= 1

    async def embed(self, request: EmbeddingRequest) -> EmbeddingOutput:
        """See ``EngineClient.embed``."""
        answers = await self._collect(lambda number: Embed(number, request), Embedded)
        end = _expect(answers[-1], Embedded)
        data = bytearray().join(_expect(part, Vectors).values for part in answers[:-1])
        vectors = np.frombuffer(data, "<f4").reshape(len(request.inputs), -1)
        return EmbeddingOutput(request.request_id, vectors, end.truncated, end.prompt_tokens)

    async def tokenize(
        self, source: str | Chat, *, add_special_tokens: bool = True
    ) -> tuple[Sequence[int], Sequence[str]]:
        """See ``EngineClient.tokenize``."""
        answers = await self._collect(
            lambda number: Tokenize(number, source, add_special_tokens), Tokens
        )
        tokens = _expect(answers[-1], Tokens)
        return tokens.ids, tokens.texts

    async def detokenize(
        self, token_ids: Sequence[int], *, skip_special_tokens: bool = True
    ) -> str:
        """See ``EngineClient.detokenize``."""
        answers = await self._collect(
            lambda number: Detokenize(number, tuple(token_ids), skip_special_tokens), Text
        )
        return _expect(answers[-1], Text).text

    async def drain(self, grace: float) -> None:
        """See ``EngineClient.drain``. A worker that dies now is not started again."""
        self._draining = True
        self._changed()
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("%d requests did not end within the grace time", self._live)

    async def close(self) -> None:
        """See ``EngineClient.close``. The process has ended when this returns."""
        self._closed = self._draining = True
        session, self._session = self._session, None
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
        if self._launching is not None:
            await self._launching.kill()
        if session is not None:
            session.fail_calls(Cancelled("the engine was closed"))
            await session.close()
        self._changed()

    def _changed(self) -> None:
        self._on_change(self.failure)

    async def _launch(self) -> Session:
        """A session with the model loaded. Raises ``WorkerDied`` and what the load did."""
        session = self._launching = Session(self._model, self._changed)
        try:
            self._info = await session.load()
        except WorkerDied as death:
            how = await session.kill()
            if self._closed:
                raise Cancelled("the engine was closed while its model was loading") from death
            raise WorkerDied(f"{death.message}: {how}") from death
        except BaseException:
            await session.kill()
            raise
        finally:
            self._launching = None
        return session

    async def _supervise(self, session: Session) -> None:
        """Start the worker again, whenever it has ended."""
        lives = Backoff(_LIVES_DELAY)
        while True:
            await session.ended
            self._changed()
            how = await session.kill()
            _log.error("[%s] worker %s died: %s", self.model_id, session.pid, how)
            if self._draining:
                return
            if session.seconds_served > _STEADY_SECONDS:
                lives.reset()
            await asyncio.sleep(lives.next())
            session = await self._relaunch()
            self._session, self.failure = session, None
            _log.info(
                "[%s] worker %s serves after %.1f s",
                self.model_id,
                session.pid,
                session.load_seconds,
            )
            self._changed()

    async def _relaunch(self) -> Session:
        backoff = Backoff(self._model.worker.max_restart_delay)
        attempts = 0
        while True:
            attempts += 1
            self._restarts += 1
            try:
                return await self._launch()
            except WorkerDied as death:
                _log.error("[%s] %s", self.model_id, death.message)
                if attempts >= self._model.worker.load_attempts:
                    self.failure = self._load_error(death)
            except EngineError as error:
                _log.error("[%s] cannot be loaded again: %s", self.model_id, error.message)
                self.failure = error
            except Exception as error:
                _log.exception("[%s] cannot be loaded again", self.model_id)
                self.failure = InternalError(f"cannot be loaded again: {error}")
            self._changed()
            await asyncio.sleep(backoff.next())

    def _open(
        self, make: Callable[[int], Message], take: Callable[[Answer], bool]
    ) -> tuple[Session, Call]:
        if self._draining and not self._closed:
            raise Unavailable("the server is shutting down", reason="DRAINING")
        session = self._session
        if session is None or session.ended.done():
            raise self._unavailable()
        call = session.open(make, take)
        self._live += 1
        self._idle.clear()
        return session, call

    def _end(self, session: Session, call: Call, *, over: bool) -> None:
        session.end(call, over=over)
        self._live -= 1
        if not self._live:
            self._idle.set()

    async def _ask(self, make: Callable[[int], Message], take: Callable[[Answer], bool]) -> None:
        """Have a call answered; ``take`` as for ``Call``."""
        session, call = self._open(make, take)
        over = False
        try:
            await call.ended
            over = True
        finally:
            self._end(session, call, over=over)

    async def _collect(self, make: Callable[[int], Message], last: type[Answer]) -> list[Answer]:
        """The answers of a call, up to one of type ``last``."""
        answers: list[Answer] = []

        def take(answer: Answer) -> bool:
            answers.append(answer)
            return isinstance(answer, last)

        await self._ask(make, take)
        return answers

    def _load_error(self, death: WorkerDied) -> LoadError:
        attempts = self._model.worker.load_attempts
        return LoadError(
            f"the process of model {self.model_id} died {attempts} times while loading; "
            f"the last time: {death.message}",
            reason="WORKER_DIED",
        )

    def _unavailable(self) -> Unavailable:
        """Why there is no worker to ask."""
        if self._closed:
            return Unavailable(f"{self.model_id} is closed", reason="MODEL_CLOSED")
        if self._supervisor is None:
            return Unavailable(f"{self.model_id} is still loading", reason="MODEL_LOADING")
        if self.failure is not None:
            return Unavailable(
                f"model {self.model_id} is out of service: {self.failure.message}",
                reason="MODEL_FAILED",
                retry_after=self._model.worker.max_restart_delay,
            )
        load_seconds = self._session.load_seconds if self._session is not None else 1.0
        return Unavailable(
            f"the process of model {self.model_id} is started again; try again soon",
            reason="WORKER_RESTARTING",
            retry_after=max(1.0, load_seconds),
        )


def _expect(answer: Answer, kind: type[A]) -> A:
    """An answer of the one type that fits. Raises ``InternalError``."""
    if not isinstance(answer, kind):
        raise InternalError(f"the worker answered {type(answer).__name__}")
    return answer
