"""A scripted engine behind the ``EngineClient`` protocol, for the doors' tests.

It streams the words of the prompt back, deterministically, and counts the requests that
are alive, so that a test can see that whatever happened none was left behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlxforge.engine.client import EngineClient
from mlxforge.engine.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    Unavailable,
)
from mlxforge.engine.loader import Progress
from mlxforge.engine.output import (
    Capability,
    EmbeddingOutput,
    Finish,
    FinishReason,
    ModelInfo,
    RequestOutput,
    Timings,
    TokenLogprobs,
    Usage,
)
from mlxforge.engine.request import Chat, EmbeddingRequest, GenerationRequest
from mlxforge.engine.stats import EngineStats
from mlxforge.engine.stream import Put

VOCAB_SIZE = 1000
DIMENSIONS = 4


@dataclass
class Script:
    """What the fake does: seconds to load and between words, where it waits, what goes wrong."""

    load_seconds: float = 0.0
    load_error: Exception | None = None
    word_seconds: float = 0.0
    embed_seconds: float = 0.0
    hold_at_word: int = -1
    released: asyncio.Event = field(default_factory=asyncio.Event)
    fail_at_word: int = -1
    fail_with: Exception = field(default_factory=lambda: RuntimeError("secret: disk is full"))


class FakeEngine(EngineClient):
    """Answers with the words of its input, over and over, until ``max_tokens`` (8) of them.

    Word i of choice c is ``words[(c + i) % len(words)]``; its token id is its position i.
    """

    def __init__(
        self,
        model_id: str = "fake",
        capabilities: frozenset[Capability] = frozenset({Capability.GENERATE, Capability.CHAT}),
        script: Script | None = None,
    ) -> None:
        self.script = script or Script()
        self.live = 0
        self.words = 0
        self.started = 0
        self.requests: list[GenerationRequest | EmbeddingRequest] = []
        self.closed = False
        self.loaded = False
        self._draining = False
        self._capabilities = capabilities
        self._model_id = model_id

    @classmethod
    def embedder(cls, script: Script | None = None, model_id: str = "fake") -> FakeEngine:
        """One that embeds and does not generate."""
        return cls(model_id, frozenset({Capability.EMBED}), script)

    @property
    def info(self) -> ModelInfo:
        if not self.loaded:
            raise RuntimeError("info is valid only once started")
        embeds = Capability.EMBED in self._capabilities
        return ModelInfo(
            id=self._model_id,
            architecture="fake",
            dtype="float32",
            capabilities=self._capabilities,
            weight_bytes=12345,
            vocab_size=VOCAB_SIZE,
            max_model_len=4096,
            max_tokens=4096,
            max_n=16,
            max_running_requests=32,
            max_waiting_requests=64,
            embedding_dimensions=DIMENSIONS if embeds else 0,
            embedding_pooling="mean" if embeds else "",
            max_embed_inputs=2048 if embeds else 0,
        )

    @property
    def healthy(self) -> bool:
        return self.loaded and not self.closed

    @property
    def stats(self) -> EngineStats:
        return EngineStats(running=self.live, generated_tokens=self.words, kv_total_bytes=1 << 30)

    async def start(self, progress: Callable[[Progress], None] | None = None) -> None:
        if progress is not None:
            progress(Progress("weights", 5, 10))
        await asyncio.sleep(self.script.load_seconds)
        if self.script.load_error is not None:
            raise self.script.load_error
        self.loaded = True

    async def run(self, request: GenerationRequest, put: Put) -> None:
        if self._draining:
            raise Unavailable("draining", reason="DRAINING")
        arrival = time.monotonic()
        words = _words(request)
        self.requests.append(request)
        self.started += 1
        self.live += 1
        try:
            for i in range(request.max_tokens or 8):
                await asyncio.sleep(self.script.word_seconds)
                if i == self.script.hold_at_word:
                    await self.script.released.wait()
                self._check(request, i)
                self.words += request.n
                for choice in range(request.n):
                    put(_word(request, choice, i, words, arrival))
        finally:
            self.live -= 1

    async def embed(self, request: EmbeddingRequest) -> EmbeddingOutput:
        self.requests.append(request)
        self.live += 1
        try:
            await asyncio.sleep(self.script.embed_seconds)
            lengths = [len(item) for item in request.inputs]
            vectors = np.array([[n] * DIMENSIONS for n in lengths], dtype=np.float32)
            return EmbeddingOutput(
                request.request_id, vectors, (False,) * len(lengths), sum(lengths)
            )
        finally:
            self.live -= 1

    async def tokenize(
        self, source: str | Chat, *, add_special_tokens: bool = True
    ) -> tuple[Sequence[int], Sequence[str]]:
        text = source if isinstance(source, str) else source.messages[-1].content
        words = (["<s>"] if add_special_tokens else []) + text.split()
        return [len(word) for word in words], words

    async def detokenize(
        self, token_ids: Sequence[int], *, skip_special_tokens: bool = True
    ) -> str:
        if any(i >= VOCAB_SIZE for i in token_ids):
            raise InvalidRequest.of("token_ids", f"must be below {VOCAB_SIZE}")
        return " ".join(f"t{i}" for i in token_ids)

    async def drain(self, grace: float) -> None:
        self._draining = True
        await asyncio.sleep(0)

    async def close(self) -> None:
        self.closed = True

    def _check(self, request: GenerationRequest, word: int) -> None:
        if self.closed:
            raise Cancelled("the engine was closed")
        if request.deadline is not None and time.monotonic() >= request.deadline:
            raise DeadlineExceeded("out of time")
        if word == self.script.fail_at_word:
            raise self.script.fail_with


def _words(request: GenerationRequest) -> list[str]:
    if request.chat is not None:
        return request.chat.messages[-1].content.split()
    return (request.prompt or " ".join(map(str, request.prompt_token_ids or ()))).split()


def _word(
    request: GenerationRequest, choice: int, i: int, words: list[str], arrival: float
) -> RequestOutput:
    last = i + 1 == (request.max_tokens or 8)
    elapsed = time.monotonic() - arrival
    top = tuple((rank, -float(rank)) for rank in range(request.logprobs or 0))
    return RequestOutput(
        request_id=request.request_id,
        index=choice,
        text=words[(choice + i) % len(words)] + ("" if last else " "),
        token_ids=(i,),
        logprobs=(TokenLogprobs(i, -0.5, top),) if request.logprobs is not None else (),
        finish=(
            Finish(
                FinishReason.LENGTH,
                Usage(prompt_tokens=len(words), completion_tokens=i + 1),
                Timings(queue=0.0, time_to_first_token=elapsed, total=elapsed),
            )
            if last
            else None
        ),
    )


def all_errors() -> list[EngineError]:
    """One error of each class of ``engine.errors`` (others are classed by their base)."""
    return [
        InvalidRequest.of("prompt", "is bad") if cls is InvalidRequest else cls(f"{cls.__name__}!")
        for cls in _subclasses(EngineError)
        if cls.__module__ == EngineError.__module__
    ]


def _subclasses(cls: type[EngineError]) -> list[type[EngineError]]:
    return [cls, *(s for direct in cls.__subclasses__() for s in _subclasses(direct))]
