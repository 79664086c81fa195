"""The one way to an engine, wherever it runs: in this process or in a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from .output import EmbeddingOutput, ModelInfo, RequestOutput
from .request import Chat, EmbeddingRequest, GenerationRequest
from .stats import EngineStats
from .stream import Put, iterate


class EngineClient(Protocol):
    """What the doors know of an engine that holds one model.

    All methods are called on one asyncio loop. Every error is an ``EngineError``. Implementations
    are subclasses, for ``generate``.
    """

    @property
    def info(self) -> ModelInfo:
        """The model's description; valid once ``start`` has returned."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether requests are served now: loaded, warmed up, all threads alive."""
        ...

    @property
    def stats(self) -> EngineStats:
        """What the engine does and did; cheap, of any state, from any thread. Never raises."""
        ...

    async def start(self) -> None:
        """Load the model and warm it up. Raises ``LoadError``."""
        ...

    async def run(self, request: GenerationRequest, put: Put) -> None:
        """Generate: ``put`` gets the outputs, until this returns or raises the one error.

        Returns after one ``finish`` per choice. Cancelling it aborts the request within one
        engine step. No task wakes for an output: at thousands of them a second that counts.
        """
        ...

    def generate(self, request: GenerationRequest) -> AsyncIterator[RequestOutput]:
        """``run``, its outputs read one by one. Closing the iterator early aborts the request."""
        return iterate(lambda put: self.run(request, put))

    async def embed(self, request: EmbeddingRequest) -> EmbeddingOutput:
        """Embed a request's inputs. Cancelling the awaiting task drops it."""
        ...

    async def tokenize(
        self, source: str | Chat, *, add_special_tokens: bool = True
    ) -> tuple[Sequence[int], Sequence[str]]:
        """Ids and vocabulary spellings of a text or conversation."""
        ...

    async def detokenize(
        self, token_ids: Sequence[int], *, skip_special_tokens: bool = True
    ) -> str:
        """The text of tokens."""
        ...

    async def drain(self, grace: float) -> None:
        """Refuse new requests and wait for the running ones, at most ``grace`` seconds."""
        ...

    async def close(self) -> None:
        """End what still runs with ``Cancelled`` and free the model. May be called twice."""
        ...
