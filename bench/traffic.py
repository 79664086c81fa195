# ruff: noqa: E402 - MLX is imported after the BLAS
"""Requests with arrival times, and how an engine is driven through them without a server.

Both engines run on the calling thread in one loop: what is due is submitted between two
steps, and every token's time is taken when it is handed out. Latencies count from the time
a request was due, so an engine that cannot keep up does not hide its queue.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlxforge.engine import blas

blas.preload()

import mlx.core as mx
from mlx_lm.generate import BatchGenerator

from bench import report, shapes
from mlxforge.engine.assembly import Assembly, build
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.core import Delivery
from mlxforge.engine.device import DeviceThread
from mlxforge.engine.errors import EngineError
from mlxforge.engine.request import GenerationRequest, SamplingParams
from mlxforge.engine.sequence import Group


@dataclass(slots=True, eq=False)
class Stream:
    """One request: ``due`` seconds after the start; ``times`` of its tokens, same clock."""

    prompt: list[int]
    new: int
    due: float = 0.0
    times: list[float] = field(default_factory=list)
    cached: int = 0
    ended: bool = False
    error: EngineError | None = None

    @property
    def first(self) -> float:
        """Seconds from due to the first token."""
        return self.times[0] - self.due

    @property
    def gaps(self) -> list[float]:
        """Seconds between each token and the next."""
        return [after - before for before, after in itertools.pairwise(self.times)]


def log_uniform(source: random.Random, low: int, high: int) -> int:
    """An integer whose logarithm is uniform."""
    return round(math.exp(source.uniform(math.log(low), math.log(high))))


def tokens(source: random.Random, count: int, vocab: int) -> list[int]:
    """A prompt that no prefix cache knows."""
    return [source.randrange(vocab) for _ in range(count)]


def poisson(
    seed: int,
    count: int,
    rate: float,
    prompt: tuple[int, int],
    new: tuple[int, int],
    vocab: int,
) -> list[Stream]:
    """``count`` requests at ``rate`` a second (math.inf: all at once), in order of arrival.

    Prompt lengths are log-uniform, output lengths uniform, both between inclusive bounds.
    """
    source = random.Random(seed)
    due = 0.0
    streams = []
    for _ in range(count):
        due += source.expovariate(rate) if rate < math.inf else 0.0
        length = log_uniform(source, *prompt)
        streams.append(Stream(tokens(source, length, vocab), source.randint(*new), due))
    return streams


class Ours:
    """Our engine on a model of random weights. It takes the weights over."""

    def __init__(self, shape: str, config: EngineConfig) -> None:
        model = shapes.random_model(shape, dtype())
        loaded = shapes.as_loaded(model, shape)
        self.vocab = loaded.vocab_size
        self.weight_bytes = loaded.weight_bytes
        self._assembly: Assembly = build(
            loaded, shape, config, DeviceThread.shared(), self._deliver
        )
        self.core = self._assembly.core
        self._count = 0
        self._started = 0.0

    def group(self, stream: Stream) -> Group:
        """The request of ``stream``, checked and tokenized as helper threads would have."""
        self._count += 1
        request = GenerationRequest(
            request_id=f"r{self._count}",
            prompt_token_ids=tuple(stream.prompt),
            sampling_params=SamplingParams(temperature=0.0),
            max_tokens=stream.new,
            ignore_eos=True,
        )
        group = Group(request, stream)
        self._assembly.preparer.fill(group)
        return group

    def start(self) -> None:
        """Set the clock that ``due`` and ``times`` are on to 0."""
        self._started = time.perf_counter()

    def submit(self, groups: Iterable[Group]) -> None:
        """Hand requests to the engine; the next step sees them."""
        for group in groups:
            group.arrival = time.monotonic()
            self.core.submit(group)

    def run(self, streams: Sequence[Stream]) -> float:
        """Serve ``streams`` as they become due, to the end; returns the seconds it took."""
        groups = [self.group(stream) for stream in streams]
        place = 0
        self.start()
        while True:
            now = time.perf_counter() - self._started
            ahead = place
            while place < len(groups) and streams[place].due <= now:
                place += 1
            self.submit(groups[ahead:place])
            if not self.core.step():
                if place == len(groups):
                    break
                _sleep_until(self._started + streams[place].due)
        check(streams)
        return time.perf_counter() - self._started

    def drain(self) -> None:
        """Step until nothing is left to do."""
        while self.core.step():
            pass

    def release(self) -> None:
        """Let go of the model and of all memory."""
        self._assembly.shut()
        del self.core, self._assembly
        gc.collect()
        mx.clear_cache()

    def _deliver(self, deliveries: list[Delivery]) -> None:
        now = time.perf_counter() - self._started
        for sink, item in deliveries:
            assert isinstance(sink, Stream)
            if isinstance(item, EngineError):
                sink.ended, sink.error = True, item
                continue
            sink.times.extend([now] * len(item.token_ids))
            if item.finish is not None:
                sink.ended = True
                sink.cached = item.finish.usage.cached_tokens


class Peer:
    """mlx-lm's BatchGenerator on the same weights, driven the same way."""

    def __init__(self, shape: str, rows: int) -> None:
        """At most ``rows`` decode together; all else is as mlx-lm's server has it."""
        self._model: Any = shapes.random_model(shape, dtype())
        self._rows = rows

    def run(self, streams: Sequence[Stream]) -> float:
        """See ``Ours.run``."""
        generator: Any = BatchGenerator(self._model, completion_batch_size=self._rows)
        live: dict[int, Stream] = {}
        place = 0
        started = time.perf_counter()
        while place < len(streams) or live:
            now = time.perf_counter() - started
            while place < len(streams) and streams[place].due <= now:
                stream = streams[place]
                [uid] = generator.insert([stream.prompt], max_tokens=[stream.new])
                live[uid] = stream
                place += 1
            if not live:
                _sleep_until(started + streams[place].due)
                continue
            _, answers = generator.next()
            now = time.perf_counter() - started
            for answer in answers:
                live[answer.uid].times.append(now)
                if answer.finish_reason is not None:
                    live.pop(answer.uid).ended = True
        generator.close()
        check(streams)
        return time.perf_counter() - started

    def release(self) -> None:
        """Let go of the model."""
        self._model = None
        gc.collect()
        mx.clear_cache()


def dtype() -> mx.Dtype:
    """What models are served in here."""
    return mx.bfloat16 if report.on_gpu() else mx.float32


def prepare() -> None:
    """Set MLX up as the engine does when it loads a model."""
    if not report.on_gpu():
        mx.disable_compile()


def _sleep_until(when: float) -> None:
    time.sleep(max(0.0, when - time.perf_counter()))


def check(streams: Sequence[Stream]) -> None:
    """A benchmark of requests that failed would be fast."""
    for stream in streams:
        if stream.error is not None:
            raise stream.error
        if not stream.ended or len(stream.times) != stream.new:
            raise RuntimeError(f"a stream ended after {len(stream.times)} of {stream.new} tokens")
