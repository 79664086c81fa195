"""An engine for whatever a model's files turn out to be: one that generates, or an encoder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from .client import EngineClient
from .config import EngineConfig
from .errors import Unavailable
from .output import EmbeddingOutput, ModelInfo
from .request import Chat, EmbeddingRequest, GenerationRequest
from .stats import EngineStats
from .stream import Put

if TYPE_CHECKING:
    from .loader import ProgressCallback


class LocalEngine(EngineClient):
    """Implements ``EngineClient`` in this process, by the engine that fits the model.

    Which one it is shows only once the files are there, so it is made in ``start``.
    """

    def __init__(
        self,
        model_source: str,
        config: EngineConfig | None = None,
        *,
        model_id: str | None = None,
        progress: ProgressCallback | None = None,
        own_process: bool = False,
    ) -> None:
        """Nothing is read before ``start``. ``progress`` may be called on other threads.

        ``own_process``: nothing else computes in this process; see ``EmbeddingEngine``.
        """
        self.model_source = model_source
        self.config = config or EngineConfig()
        self.model_id = model_id or model_source.rstrip("/").rsplit("/", 1)[-1]
        self._progress = progress
        self._own_process = own_process
        self._engine: EngineClient | None = None
        self._closed = False

    @property
    def info(self) -> ModelInfo:
        """See ``EngineClient.info``."""
        return self._ready().info

    @property
    def healthy(self) -> bool:
        """See ``EngineClient.healthy``."""
        return self._engine is not None and self._engine.healthy

    @property
    def stats(self) -> EngineStats:
        """See ``EngineClient.stats``."""
        return self._engine.stats if self._engine is not None else EngineStats()

    async def start(self) -> None:
        """See ``EngineClient.start``."""
        from . import blas

        blas.preload()  # before the first import of MLX in the process
        from .embedding.engine import EmbeddingEngine, is_encoder
        from .engine import Engine
        from .loader import resolve

        path = await asyncio.get_running_loop().run_in_executor(
            None, lambda: resolve(self.model_source, self._progress)
        )
        kind = (
            partial(EmbeddingEngine, own_process=self._own_process) if is_encoder(path) else Engine
        )
        engine: EngineClient = kind(
            str(path), self.config, model_id=self.model_id, progress=self._progress
        )
        self._engine = engine
        if self._closed:
            await engine.close()
        await engine.start()

    async def run(self, request: GenerationRequest, put: Put) -> None:
        """See ``EngineClient.run``."""
        await self._ready().run(request, put)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingOutput:
        """See ``EngineClient.embed``."""
        return await self._ready().embed(request)

    async def tokenize(
        self, source: str | Chat, *, add_special_tokens: bool = True
    ) -> tuple[Sequence[int], Sequence[str]]:
        """See ``EngineClient.tokenize``."""
        return await self._ready().tokenize(source, add_special_tokens=add_special_tokens)

    async def detokenize(
        self, token_ids: Sequence[int], *, skip_special_tokens: bool = True
    ) -> str:
        """See ``EngineClient.detokenize``."""
        return await self._ready().detokenize(token_ids, skip_special_tokens=skip_special_tokens)

    async def drain(self, grace: float) -> None:
        """See ``EngineClient.drain``."""
        if self._engine is not None:
            await self._engine.drain(grace)

    async def close(self) -> None:
        """See ``EngineClient.close``."""
        self._closed = True
        if self._engine is not None:
            await self._engine.close()

    def _ready(self) -> EngineClient:
        if self._engine is None:
            if self._closed:
                raise Unavailable(f"{self.model_id} is closed", reason="MODEL_CLOSED")
            raise Unavailable(f"{self.model_id} is still loading", reason="MODEL_LOADING")
        return self._engine
