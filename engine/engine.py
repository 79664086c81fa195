"""The engine of one model, in this process: what ``EngineClient`` asks for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from .building import build_on
from .client import EngineClient
from .config import EngineConfig
from .device import DeviceThread
from .errors import (
    Cancelled,
    EngineError,
    InternalError,
    LoadError,
    ResourceExhausted,
    Unavailable,
    Unsupported,
)
from .gathering import linger
from .output import Capability, EmbeddingOutput, ModelInfo, RequestOutput
from .request import Chat, EmbeddingRequest, GenerationRequest
from .sequence import Group
from .stats import EngineStats
from .stream import Put, Sink

if TYPE_CHECKING:
    from .assembly import Assembly
    from .core import Delivery
    from .loader import ProgressCallback

log = logging.getLogger(__name__)

# Tokenizing and grammar compiling release the GIL; more threads than this gain nothing.
_HELPERS = 4
T = TypeVar("T")


class Engine(EngineClient):
    """Implements ``EngineClient``. Its loop is the one that called ``start``."""

    def __init__(
        self,
        model_source: str,
        config: EngineConfig | None = None,
        *,
        model_id: str | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        """Nothing is read before ``start``. ``progress`` may be called on other threads."""
        self.model_source = model_source
        self.config = config or EngineConfig()
        self.model_id = model_id or model_source.rstrip("/").rsplit("/", 1)[-1]
        self._progress = progress
        self._assembly: Assembly | None = None
        self._helpers = ThreadPoolExecutor(_HELPERS, thread_name_prefix="mlxforge-prepare")
        # Requests that have not ended, with the sink of those that generate.
        self._live: dict[str, Sink | None] = {}
        self._draining = False
        self._closed = False
        self._idle: asyncio.Event | None = None

    @property
    def info(self) -> ModelInfo:
        """See ``EngineClient.info``."""
        return self._ready().info

    @property
    def healthy(self) -> bool:
        """See ``EngineClient.healthy``."""
        assembly = self._assembly
        return assembly is not None and not self._draining and assembly.serving

    @property
    def stats(self) -> EngineStats:
        """See ``EngineClient.stats``."""
        assembly = self._assembly
        return assembly.stats() if assembly is not None else EngineStats()

    async def start(self) -> None:
        """See ``EngineClient.start``."""
        from . import blas

        blas.preload()  # before the first import of MLX in the process
        from .assembly import assemble
        from .loader import resolve

        self._idle = asyncio.Event()
        self._idle.set()
        device = DeviceThread.shared()

        def build(resolved: str) -> Assembly:
            if self._closed:
                raise Cancelled("the engine was closed before its model was loaded")
            assembly = assemble(
                resolved, self.model_id, self.config, device, _deliver, self._progress
            )
            for stepper in assembly.steppers:
                device.attach(stepper)
            return assembly

        try:
            resolved = await self._help(lambda: str(resolve(self.model_source, self._progress)))
            assembly = await build_on(device, lambda: build(resolved), lambda a: a.shut())
        except EngineError:
            raise
        except Exception as error:
            log.exception("loading %s failed", self.model_source)
            raise LoadError(f"{self.model_source} could not be loaded: {error}") from error
        if self._closed:  # closed while loading
            await asyncio.wrap_future(device.call(assembly.shut))
            raise Cancelled("the engine was closed while its model was loading")
        self._assembly = assembly
        if self.config.warm_up:
            self._helpers.submit(assembly.preparer.warm_up)

    async def run(self, request: GenerationRequest, put: Put) -> None:
        """See ``EngineClient.run``."""
        assembly = self._ready()
        if Capability.GENERATE not in assembly.info.capabilities:
            raise Unsupported(f"{self.model_id} only embeds", reason="CANNOT_GENERATE")
        self._refuse_when_closing()
        core = assembly.core  # the assembly lets go of it when it is shut
        core.check_queue()
        sink = Sink(put)
        group = Group(request, sink)
        self._add(request.request_id, sink)
        try:
            await self._prepare(assembly, group)
            sink.left = len(group.sequences)
            if self._assembly is not assembly:
                raise Cancelled("the engine was closed")
            core.submit(group)
            assembly.device.wake()
            await sink.ended
        finally:
            sink.close()
            self._remove(request.request_id)
            if sink.left and self._assembly is assembly:
                core.abort(request.request_id)
                assembly.device.wake()

    async def _prepare(self, assembly: Assembly, group: Group) -> None:
        core = assembly.core
        core.gathering.preparing += 1
        try:
            await self._help(lambda: assembly.preparer.fill(group))
        finally:
            tokens = len(group.sequences[0].prompt) if group.sequences else 0
            seconds = linger(core.pace.chunk_time.of(tokens))
            asyncio.get_running_loop().call_later(seconds, core.gathering.leave)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingOutput:
        """See ``EngineClient.embed``."""
        embedder = self._ready().embedder
        if embedder is None:
            raise Unsupported(f"{self.model_id} cannot embed", reason="CANNOT_EMBED")
        self._refuse_when_closing()
        future = embedder.scheduler.submit(request)
        self._add(request.request_id, None)
        try:
            return await asyncio.wrap_future(future)
        finally:
            self._remove(request.request_id)

    async def tokenize(
        self, source: str | Chat, *, add_special_tokens: bool = True
    ) -> tuple[Sequence[int], Sequence[str]]:
        """See ``EngineClient.tokenize``."""
        tokenizer = self._ready().loaded.tokenizer

        def run() -> tuple[list[int], list[str]]:
            if isinstance(source, Chat):
                if not tokenizer.has_chat_template:
                    raise Unsupported("the model has no chat template", reason="NO_CHAT_TEMPLATE")
                ids = tokenizer.render_chat(source)
            else:
                ids = tokenizer.encode(source, add_special_tokens=add_special_tokens)
            return ids, [tokenizer.token_text(i) for i in ids]

        return await self._help(run)

    async def detokenize(
        self, token_ids: Sequence[int], *, skip_special_tokens: bool = True
    ) -> str:
        """See ``EngineClient.detokenize``."""
        assembly = self._ready()
        assembly.preparer.check_ids("token_ids", token_ids)
        tokenizer = assembly.loaded.tokenizer
        return await self._help(
            lambda: tokenizer.decode(token_ids, skip_special_tokens=skip_special_tokens)
        )

    async def drain(self, grace: float) -> None:
        """See ``EngineClient.drain``."""
        self._draining = True
        if self._live and self._idle is not None:
            try:
                await asyncio.wait_for(self._idle.wait(), grace)
            except TimeoutError:
                log.warning("%d requests did not end within the grace time", len(self._live))

    async def close(self) -> None:
        """See ``EngineClient.close``."""
        self._closed = self._draining = True
        assembly, self._assembly = self._assembly, None
        if assembly is not None:
            try:
                await asyncio.wrap_future(assembly.device.call(assembly.shut))
            except Exception:
                log.exception("%s was not closed in good order", self.model_id)
        for sink in self._live.values():  # whose request has ended already take no notice
            if sink is not None:
                sink.take(Cancelled("the engine was closed"))
        self._helpers.shutdown(wait=False)

    async def _help(self, function: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._helpers, function)
        except (MemoryError, RuntimeError) as error:
            # Python has no class of its own for a thread that cannot be started.
            if isinstance(error, MemoryError) or "new thread" in str(error):
                raise ResourceExhausted("the machine is out of memory; try again later") from error
            raise

    def _ready(self) -> Assembly:
        if self._assembly is None:
            if self._closed:
                raise Unavailable(f"{self.model_id} is closed", reason="MODEL_CLOSED")
            raise Unavailable(f"{self.model_id} is still loading", reason="MODEL_LOADING")
        if not self._assembly.serving:
            raise Unavailable(f"{self.model_id} failed and has to be loaded", reason="MODEL_FAILED")
        return self._assembly

    def _refuse_when_closing(self) -> None:
        if self._draining:
            raise Unavailable("the server is shutting down", reason="DRAINING")

    def _add(self, request_id: str, sink: Sink | None) -> None:
        if request_id in self._live:
            raise InternalError(f"the request id {request_id} is in use")
        self._live[request_id] = sink
        if self._idle is not None:
            self._idle.clear()

    def _remove(self, request_id: str) -> None:
        self._live.pop(request_id, None)
        if not self._live and self._idle is not None:
            self._idle.set()


def _deliver(deliveries: list[Delivery]) -> None:
    """Hand a step's outputs to their loops, with one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Sink, RequestOutput | EngineError]]] = {}
    for sink, item in deliveries:
        if isinstance(sink, Sink):
            by_loop.setdefault(sink.loop, []).append((sink, item))
    for loop, batch in by_loop.items():
        try:
            loop.call_soon_threadsafe(_dispatch, batch)
        except RuntimeError:  # the loop is closed: nobody waits
            log.debug("%d outputs had no loop to go to", len(batch))


def _dispatch(deliveries: list[tuple[Sink, RequestOutput | EngineError]]) -> None:
    for sink, item in deliveries:
        sink.take(item)
