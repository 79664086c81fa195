"""An ``EngineClient`` for models that only embed."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..building import build_on
from ..client import EngineClient
from ..config import EngineConfig
from ..device import DeviceThread
from ..errors import Cancelled, EngineError, InvalidRequest, LoadError, Unavailable, Unsupported
from ..limits import DEFAULT_LIMITS
from ..output import Capability, EmbeddingOutput, ModelInfo
from ..request import Chat, EmbeddingRequest, GenerationRequest
from ..stats import EngineStats
from ..stream import Put
from .settings import read_object

if TYPE_CHECKING:
    from ..loader import LoadedModel, ProgressCallback
    from .model import EmbeddingModel
    from .scheduler import EmbeddingScheduler

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Serving:
    """A loaded model with all that serves it."""

    loaded: LoadedModel
    info: ModelInfo
    scheduler: EmbeddingScheduler


def is_encoder(path: Path) -> bool:
    """Whether the model at ``path`` is one for ``EmbeddingEngine``: a folder of an encoder."""
    from .model import ENCODERS

    return path.is_dir() and read_object(path / "config.json").get("model_type") in ENCODERS


class EmbeddingEngine(EngineClient):
    """Implements ``EngineClient`` for encoders. Its loop is the one that called ``start``.

    ``own_process``: nothing else computes in this process, so that on CPUs batches may run
    side by side, one to a core.
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
        """Nothing is read before ``start``. ``progress`` may be called on other threads."""
        self.model_source = model_source
        self.config = config or EngineConfig()
        self.model_id = model_id or model_source.rstrip("/").rsplit("/", 1)[-1]
        self.own_process = own_process
        self._progress = progress
        self._device: DeviceThread | None = None
        self._serving: _Serving | None = None
        self._helpers = ThreadPoolExecutor(2, "mlxforge-embed-prepare")
        self._live = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._closed = False

    @property
    def info(self) -> ModelInfo:
        """See ``EngineClient.info``."""
        return self._ready().info

    @property
    def healthy(self) -> bool:
        """See ``EngineClient.healthy``."""
        alive = self._device is not None and self._device.alive
        return self._serving is not None and alive and not self._draining

    @property
    def stats(self) -> EngineStats:
        """See ``EngineClient.stats``."""
        from ..kv.budget import device_stats

        serving = self._serving
        scheduler = serving.scheduler if serving is not None else None
        return scheduler.add_to(device_stats()) if scheduler is not None else EngineStats()

    async def start(self) -> None:
        """See ``EngineClient.start``."""
        from .. import blas

        blas.preload()  # before the first import of MLX in the process
        from ..loader import resolve

        loop = asyncio.get_running_loop()
        device = self._device = DeviceThread.shared()
        path = await loop.run_in_executor(
            self._helpers, lambda: resolve(self.model_source, self._progress)
        )
        try:
            serving = await build_on(device, lambda: self._load(str(path)), _release)
        except EngineError:
            raise
        except Exception as error:
            log.exception("loading %s failed", self.model_source)
            raise LoadError(f"{self.model_source} could not be loaded: {error}") from error
        if self._closed:  # closed while loading
            await asyncio.wrap_future(device.call(lambda: _release(serving)))
            raise Cancelled("the engine was closed while its model was loading")
        await loop.run_in_executor(self._helpers, device.attach, serving.scheduler)
        self._serving = serving

    async def run(self, request: GenerationRequest, put: Put) -> None:
        """Raises ``Unsupported``. See ``EngineClient.run``."""
        raise Unsupported(f"{self.model_id} only embeds", reason="CANNOT_GENERATE")

    async def embed(self, request: EmbeddingRequest) -> EmbeddingOutput:
        """See ``EngineClient.embed``."""
        serving = self._ready()
        if self._draining:
            raise Unavailable("the server is shutting down", reason="DRAINING")
        future = serving.scheduler.submit(request)
        self._live += 1
        self._idle.clear()
        try:
            return await asyncio.wrap_future(future)
        finally:
            self._live -= 1
            if not self._live:
                self._idle.set()

    async def tokenize(
        self, source: str | Chat, *, add_special_tokens: bool = True
    ) -> tuple[Sequence[int], Sequence[str]]:
        """See ``EngineClient.tokenize``."""
        tokenizer = self._ready().loaded.tokenizer
        if isinstance(source, Chat):
            raise Unsupported("the model has no chat template", reason="NO_CHAT_TEMPLATE")

        def run() -> tuple[list[int], list[str]]:
            ids = tokenizer.encode(source, add_special_tokens=add_special_tokens)
            return ids, [tokenizer.token_text(i) for i in ids]

        return await asyncio.get_running_loop().run_in_executor(self._helpers, run)

    async def detokenize(
        self, token_ids: Sequence[int], *, skip_special_tokens: bool = True
    ) -> str:
        """See ``EngineClient.detokenize``."""
        serving = self._ready()
        tokenizer, limit = serving.loaded.tokenizer, serving.info.vocab_size
        for index, token_id in enumerate(token_ids):
            if not 0 <= token_id < limit:
                raise InvalidRequest.of(
                    f"token_ids[{index}]", f"must be 0 to {limit - 1}, not {token_id}"
                )

        def run() -> str:
            return tokenizer.decode(token_ids, skip_special_tokens=skip_special_tokens)

        return await asyncio.get_running_loop().run_in_executor(self._helpers, run)

    async def drain(self, grace: float) -> None:
        """See ``EngineClient.drain``."""
        self._draining = True
        try:
            await asyncio.wait_for(self._idle.wait(), grace)
        except TimeoutError:
            log.warning("%d requests did not end within the grace time", self._live)

    async def close(self) -> None:
        """See ``EngineClient.close``."""
        self._closed = self._draining = True
        serving, self._serving = self._serving, None
        if serving is not None and self._device is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._device.detach, serving.scheduler)
            await asyncio.wrap_future(self._device.call(lambda: _release(serving)))
        self._helpers.shutdown(wait=False, cancel_futures=True)

    def _load(self, source: str) -> _Serving:
        """On the MLX thread."""
        from ..kernels.cpu import is_slow_cpu, use_one_blas_thread
        from ..loader import load_model
        from .batching import BatchPolicy
        from .model import embedding_model
        from .scheduler import EmbeddingScheduler, QueueLimits
        from .warmup import warm_up

        loaded = load_model(source, progress=self._progress, dtype=self.config.dtype)
        model = embedding_model(loaded)
        streams = 1
        if self.own_process and is_slow_cpu() and use_one_blas_thread():
            streams = os.cpu_count() or 1
        scheduler = EmbeddingScheduler(
            model,
            policy=BatchPolicy.of_device(streams),
            queue_limits=QueueLimits(requests=self.config.max_waiting_requests),
            wake=DeviceThread.shared().wake,
        )
        if self.config.warm_up:
            warm_up(model, scheduler.policy)
        return _Serving(loaded, describe(loaded, model, self.model_id, self.config), scheduler)

    def _ready(self) -> _Serving:
        if self._serving is None:
            if self._closed:
                raise Unavailable(f"{self.model_id} is closed", reason="MODEL_CLOSED")
            raise Unavailable(f"{self.model_id} is still loading", reason="MODEL_LOADING")
        return self._serving


def describe(
    loaded: LoadedModel, model: EmbeddingModel, model_id: str, config: EngineConfig
) -> ModelInfo:
    """What an embedding model is and can do."""
    return ModelInfo(
        id=model_id,
        architecture=loaded.architecture,
        dtype=loaded.dtype,
        capabilities=frozenset({Capability.EMBED}),
        weight_bytes=loaded.weight_bytes,
        vocab_size=loaded.vocab_size,
        max_model_len=model.max_length,
        max_tokens=0,
        max_n=0,
        max_running_requests=config.max_waiting_requests,
        max_waiting_requests=config.max_waiting_requests,
        embedding_dimensions=model.dimensions,
        embedding_pooling=model.settings.pooling.value,
        max_embed_inputs=DEFAULT_LIMITS.max_embed_inputs,
    )


def _release(serving: _Serving) -> None:
    """End what runs and let go of the model's memory. On the MLX thread, detached."""
    import mlx.core as mx

    serving.scheduler.close()
    # Their types leave out None: only at the end are they missing.
    serving.loaded = serving.scheduler = None  # type: ignore[assignment]
    mx.clear_cache()
