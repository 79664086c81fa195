"""Runs embedding requests: tokenizing on threads of its own, batches on the MLX thread.

A request is a future. Its inputs are tokenized in chunks (so that large requests take turns
with small ones), wait in the ``InputQueue`` and run in batches with those of other requests.
``step`` starts one batch and then reads the one before, so that the device never waits for
Python. Cancelling the future drops what has not started within one step.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from ..errors import (
    Cancelled,
    DeadlineExceeded,
    EngineError,
    InternalError,
    ResourceExhausted,
    Unavailable,
)
from ..limits import DEFAULT_LIMITS, Limits
from ..output import EmbeddingOutput
from ..request import EmbeddingRequest
from ..stats import EngineStats, Stats
from ..validation import check_embedding
from .batching import Batch, BatchPart, BatchPolicy, InputQueue
from .inputs import EncodedInput
from .job import Job
from .model import EmbeddingModel

log = logging.getLogger(__name__)

_TOKENIZER_THREADS = 2
# So many tokens wait tokenized; enough for long runs of full batches of one width.
_MAX_WAITING_TOKENS = 1 << 21


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait: requests, and bytes of their inputs and answers together."""

    requests: int = 1024
    size: int = 512 << 20


# What other threads tell the MLX thread of a job: tokenized inputs, its error, or (None) that
# its future was cancelled.
_News = tuple[Job, "list[EncodedInput] | EngineError | None"]


# Batches on the device, started together, with their vectors (rows or more, D), not yet read.
_Flight = list[tuple[Batch[Job], mx.array]]


class EmbeddingScheduler:
    """Takes requests from any thread; ``step`` and ``close`` belong to the MLX thread."""

    def __init__(
        self,
        model: EmbeddingModel,
        *,
        policy: BatchPolicy | None = None,
        queue_limits: QueueLimits = QueueLimits(),
        request_limits: Limits = DEFAULT_LIMITS,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.model = model
        self.policy = policy or BatchPolicy.of_device()
        self._queue_limits = queue_limits
        self._request_limits = request_limits
        self._wake = wake
        self.stats = Stats()
        self.num_running = 0
        """Requests with a batch on the device."""
        self._queue: InputQueue[Job] = InputQueue(self.policy, model.max_length)
        self._flights: deque[_Flight] = deque()
        self.tokens_read = 0  # by the last step, with padding
        self._streams: list[mx.Stream] = []
        self._tokenizers = ThreadPoolExecutor(_TOKENIZER_THREADS, "mlxforge-embed-tokenize")
        self._news: deque[_News] = deque()
        # Guards what follows; held for moments only.
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._size = 0
        self._untaken_tokens = 0  # tokenized, not yet in the queue
        self._parked: deque[Job] = deque()
        self._closed = False

    @property
    def num_requests(self) -> int:
        """Requests that have not ended."""
        return len(self._jobs)

    @property
    def busy(self) -> bool:
        """Whether a request has not ended or a batch is not yet read."""
        return bool(self._jobs or self._flights)

    def add_to(self, stats: EngineStats) -> EngineStats:
        """``stats`` with this scheduler's added. Any thread may ask."""
        running = self.num_running
        waiting = max(0, len(self._jobs) - running)
        return stats.plus(self.stats, running=running, waiting=waiting)

    def submit(self, request: EmbeddingRequest) -> Future[EmbeddingOutput]:
        """Queue a request. The future ends with its vectors or one ``EngineError``.

        Raises ``InvalidRequest`` for what can be seen without tokenizing, and
        ``ResourceExhausted`` or ``Unavailable`` when it cannot be queued. Its callbacks run on
        the MLX thread: keep them short.
        """
        check_embedding(request, self._request_limits)
        settings, prompt = self.model.rows(request)
        job = Job(request, settings, prompt, self._size_of(request))
        with self._lock:
            if self._closed:
                raise Unavailable("the model is going away")
            self._check_room(job)
            self._jobs[id(job)] = job
            self._size += job.size
            self._tokenizers.submit(self._tokenize, job)
        job.future.add_done_callback(lambda future: self._on_done(job, future))
        return job.future

    def rest(self) -> None:
        """Give back the buffers that batches left behind. On the MLX thread."""
        mx.clear_cache()

    def step(self, token_budget: int | None = None) -> bool:
        """Start a batch (on CPUs, one a stream) and read the one before; False when there is none.

        ``token_budget`` bounds the batch (padding counts), for engines that also decode: an
        input longer than the budget still runs, alone. 0: only read.
        """
        started = time.perf_counter()
        try:
            worked = self._step(token_budget)
        except Exception as error:  # a fault of ours: the requests end, the thread lives on
            log.exception("an embedding step failed")
            self._end_all(InternalError(f"embedding failed: {error}"))
            worked = True
        if worked:
            self.stats.step_seconds += time.perf_counter() - started
        self.num_running = self._count_running()
        return worked

    def _step(self, token_budget: int | None) -> bool:
        self._take_news()
        self._expire()
        self.tokens_read = 0
        batches: list[Batch[Job]] = []
        while token_budget != 0 and len(batches) < self.policy.streams:
            batch = self._queue.take(token_budget)
            if batch is None:
                break
            batches.append(batch)
        waiting = len(self._flights)
        if batches:
            self._start(batches)
        if waiting:
            self._read(self._flights.popleft())
        self._unpark()
        return bool(batches or waiting or len(self._queue))

    def close(self, error: EngineError | None = None) -> None:
        """End every request with ``error`` (``Cancelled``) and refuse new ones."""
        with self._lock:
            self._closed = True
        self._end_all(error or Cancelled("the model was unloaded"))
        self._tokenizers.shutdown(wait=False, cancel_futures=True)

    # Any thread.

    def _size_of(self, request: EmbeddingRequest) -> int:
        """Bytes a request's inputs and answer take, four for a character or token id."""
        values = sum(map(len, request.inputs)) + len(request.inputs) * self.model.dimensions
        return 4 * values

    def _check_room(self, job: Job) -> None:
        limits = self._queue_limits
        if job.size > limits.size:
            raise ResourceExhausted(
                "the request is larger than the queue; send fewer inputs at once",
                reason="REQUEST_TOO_LARGE",
                retry_after=None,
            )
        if len(self._jobs) >= limits.requests or self._size + job.size > limits.size:
            self.stats.rejected += 1  # the lock is held
            raise ResourceExhausted("the embedding queue is full", reason="QUEUE_FULL")

    def _on_done(self, job: Job, future: Future[EmbeddingOutput]) -> None:
        if future.cancelled():
            self._tell(job, None)

    def _tell(self, job: Job, what: list[EncodedInput] | EngineError | None) -> None:
        self._news.append((job, what))
        self._wake()

    # Tokenizer threads.

    def _tokenize(self, job: Job) -> None:
        """Tokenize the next chunk of a job, and see to it that the rest follows."""
        if job.over or job.future.cancelled():
            return
        start = job.encoded
        stop = job.chunk_end()
        try:
            chunk = self.model.inputs.encode(job.request, job.prompt, start, stop)
        except EngineError as error:
            self._tell(job, error)
            return
        except Exception as error:  # a fault of the tokenizer's ends only this request
            log.exception("tokenizing failed")
            self._tell(job, InternalError(f"tokenizing failed: {error}"))
            return
        job.encoded = stop
        with self._lock:
            self._untaken_tokens += _count_tokens(chunk)
            if stop < len(job.request.inputs) and not self._closed:
                if self._enough_waits():
                    self._parked.append(job)
                else:
                    self._tokenizers.submit(self._tokenize, job)
        # Last, so that a step, and with it ``_unpark``, always follows a parking.
        self._tell(job, chunk)

    def _enough_waits(self) -> bool:
        """Whether tokenizing is far enough ahead of the device. With the lock held."""
        return self._untaken_tokens + self._queue.waiting_tokens >= _MAX_WAITING_TOKENS

    # The MLX thread.

    def _take_news(self) -> None:
        """Take in what other threads said since the last step."""
        while self._news:
            job, what = self._news.popleft()
            if isinstance(what, list):
                self._take_inputs(job, what)
            else:
                self._end(job, what or Cancelled("the request was cancelled"))

    def _take_inputs(self, job: Job, inputs: list[EncodedInput]) -> None:
        tokens = _count_tokens(inputs)
        with self._lock:
            self._untaken_tokens -= tokens
        if job.over:
            return
        for position, item in enumerate(inputs, len(job.truncated)):
            self._queue.add(job, position, item)
        job.truncated.extend(item.truncated for item in inputs)
        job.tokens += tokens

    def _expire(self) -> None:
        now = time.monotonic()
        with self._lock:
            expired = [
                job
                for job in self._jobs.values()
                if job.request.deadline is not None and job.request.deadline <= now
            ]
        for job in expired:
            self._end(job, DeadlineExceeded("the request's deadline passed"))

    def _start(self, batches: list[Batch[Job]]) -> None:
        flight: _Flight = []
        for batch, stream in zip(batches, self._use_streams(), strict=False):
            groups = [([i.ids for i in part.inputs], part.owner.settings) for part in batch.parts]
            height = self.policy.height(batch.rows)
            try:
                with mx.stream(stream):
                    vectors = self.model.embed(groups, width=batch.width, height=height)
            except Exception as error:
                self._fail(batch, error)
            else:
                flight.append((batch, vectors))
        try:
            # In one call: on CPUs it returns only when little is left to do.
            mx.async_eval(*(vectors for _, vectors in flight))
        except Exception as error:
            for batch, _ in flight:
                self._fail(batch, error)
        else:
            self._flights.append(flight)

    def _use_streams(self) -> list[mx.Stream]:
        """The default stream; those of the policy when batches run side by side."""
        device = mx.default_device()
        if self.policy.streams == 1:
            return [mx.default_stream(device)]
        if not self._streams:
            self._streams = [mx.new_stream(device) for _ in range(self.policy.streams)]
        return self._streams

    def _read(self, flight: _Flight) -> None:
        """Wait for batches and hand their vectors out."""
        for batch, computed in flight:
            self.tokens_read += batch.width * batch.rows
            try:
                vectors = np.asarray(computed)
            except Exception as error:
                self._fail(batch, error)
                continue
            self.stats.steps += 1
            row = 0
            for part in batch.parts:
                self.stats.prompt_tokens += _count_tokens(part.inputs)
                count = len(part.positions)
                self._hand_out(part, vectors[row : row + count])
                row += count

    def _hand_out(self, part: BatchPart[Job], vectors: NDArray[np.float32]) -> None:
        job = part.owner
        if job.over:
            return
        count, width = len(job.request.inputs), job.settings.dimensions
        if job.vectors is None:
            job.vectors = np.empty((count, width), np.float32)
        job.vectors[part.positions] = vectors[:, :width]
        job.finished += len(part.positions)
        if job.finished == count:
            truncated = tuple(job.truncated)
            self._end(
                job,
                EmbeddingOutput(job.request.request_id, job.vectors, truncated, job.tokens),
            )

    def _count_running(self) -> int:
        return len({id(p.owner) for flight in self._flights for b, _ in flight for p in b.parts})

    def _fail(self, batch: Batch[Job], error: Exception) -> None:
        """End the requests of a batch that raised; others go on."""
        log.error("an embedding batch failed", exc_info=error)
        for part in batch.parts:
            self._end(part.owner, _engine_error(error))

    def _end(self, job: Job, result: EmbeddingOutput | EngineError) -> None:
        """End a job, once: all ends come here."""
        if job.over:
            return
        job.over = True
        self._queue.remove(job)
        with self._lock:
            del self._jobs[id(job)]
            self._size -= job.size
        # False when cancelled; after this it cannot be cancelled any more.
        if job.future.set_running_or_notify_cancel():
            if isinstance(result, EmbeddingOutput):
                job.future.set_result(result)
            else:
                job.future.set_exception(result)

    def _end_all(self, error: EngineError) -> None:
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            self._end(job, error)
        self._flights.clear()
        self._queue = InputQueue(self.policy, self.model.max_length)

    def _unpark(self) -> None:
        """Let one parked job go on; while tokens are few it keeps itself going."""
        with self._lock:
            if self._parked and not self._closed and not self._enough_waits():
                self._tokenizers.submit(self._tokenize, self._parked.popleft())


def _count_tokens(inputs: list[EncodedInput]) -> int:
    return sum(item.ids.size for item in inputs)


def _engine_error(error: Exception) -> EngineError:
    """What a failed batch means for its requests."""
    if isinstance(error, EngineError):
        return error
    text = str(error)
    if isinstance(error, MemoryError) or "alloc" in text or "memory" in text.lower():
        return ResourceExhausted(f"not enough memory to embed: {text}", reason="OUT_OF_MEMORY")
    return InternalError(f"embedding failed: {text}")
