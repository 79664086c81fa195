"""Puts an engine together from a loaded model. Runs on the MLX thread."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx

from .config import EngineConfig
from .core import Delivery, EngineCore
from .device import DeviceThread, Stepper
from .embedding.model import embedding_model
from .embedding.scheduler import EmbeddingScheduler, QueueLimits
from .embedding.turns import EmbeddingTurns
from .errors import Cancelled, Unsupported
from .kv.budget import device_stats, kv_bytes, limit_cache
from .kv.layout import KVLayout
from .kv.prefix import PrefixCache
from .limits import DEFAULT_LIMITS
from .loader import LoadedModel, Progress, ProgressCallback, load_model
from .memory import Memory
from .model import compatibility, llama
from .model.caches import CacheRunner
from .model.runner import Runner
from .model.slots import SlotRunner
from .output import Capability, ModelInfo
from .pace import Pace
from .prepare import Preparer
from .scheduler import Scheduler
from .stats import EngineStats
from .warmup import warm_up

# Prompt tokens per chunk while nothing decodes. A chunk cannot be interrupted: on CPU 256
# tokens of a small model take about a second, on a GPU 4096 of an 8B model a tenth.
_PREFILL_TOKENS = {"cpu": 256, "gpu": 4096}


@dataclass(slots=True)
class Assembly:
    """A model with all that serves it."""

    loaded: LoadedModel
    info: ModelInfo
    core: EngineCore
    preparer: Preparer
    device: DeviceThread
    embedder: EmbeddingTurns | None

    @property
    def steppers(self) -> list[Stepper]:
        """What the device thread steps for this model."""
        return [self.core] if self.embedder is None else [self.core, self.embedder]

    @property
    def serving(self) -> bool:
        """Whether the engine is stepped. Any thread may ask."""
        return all(self.device.steps(stepper) for stepper in self.steppers)

    def stats(self) -> EngineStats:
        """See ``EngineClient.stats``. Read beside the MLX thread: parts may be a step apart."""
        core, embedder = self.core, self.embedder
        if core is None:  # shut meanwhile, whatever its type says
            return EngineStats()  # type: ignore[unreachable]
        prefix = core.memory.prefix
        stats = dataclasses.replace(
            device_stats(),
            kv_total_bytes=core.memory.total,
            kv_prefix_bytes=prefix.nbytes if prefix is not None else 0,
            prefix_queries=prefix.queries if prefix is not None else 0,
            prefix_hits=prefix.hits if prefix is not None else 0,
        )
        running = len(core.batch) + sum(job.rows for job in core.scheduler.jobs)
        stats = stats.plus(core.stats, running=running, waiting=len(core.scheduler.waiting))
        return stats if embedder is None else embedder.scheduler.add_to(stats)

    def shut(self) -> None:
        """End all requests with ``Cancelled`` and let go of the model. On the MLX thread."""
        self.core.abort_all(Cancelled("the engine was closed"))
        self.core.step()
        if self.embedder is not None:
            self.embedder.scheduler.close()
        for stepper in self.steppers:
            self.device.detach(stepper)
        self.core.runner.release()
        self.core.memory.clear()
        self.core.masks.close()
        self.preparer.close()
        # Their types leave out None: only at the end are they missing.
        self.loaded = self.core = self.preparer = self.embedder = None  # type: ignore[assignment]
        mx.clear_cache()


def assemble(
    resolved: str,
    model_id: str,
    config: EngineConfig,
    device: DeviceThread,
    deliver: Callable[[list[Delivery]], None],
    progress: ProgressCallback | None,
) -> Assembly:
    """Load, measure and warm up. Raises LoadError and Unsupported."""
    if mx.default_device().type == mx.DeviceType.cpu:
        # On CPU mx.compile calls the system's C++ compiler at run time, a second a function,
        # and there may be none.
        mx.disable_compile()
    loaded = load_model(resolved, progress=progress, dtype=config.dtype)

    def check() -> None:
        if progress is not None:  # the weights are there; it may still end the load
            progress(Progress("weights", loaded.weight_bytes, loaded.weight_bytes))

    return build(loaded, model_id, config, device, deliver, check)


def build(
    loaded: LoadedModel,
    model_id: str,
    config: EngineConfig,
    device: DeviceThread,
    deliver: Callable[[list[Delivery]], None],
    check: Callable[[], None] = lambda: None,
) -> Assembly:
    """All that serves a loaded model. What ``check`` raises meanwhile ends it."""
    on_gpu = mx.default_device().type == mx.DeviceType.gpu
    runner, layout = make_runner(loaded, config)
    largest = config.max_prefill_tokens or _PREFILL_TOKENS["gpu" if on_gpu else "cpu"]
    working = _working_bytes(loaded, largest)
    total = kv_bytes(config.memory_budget, loaded.weight_bytes, working)
    limit_cache(working)
    prefix = None
    if config.prefix_cache and layout is not None and PrefixCache.fits(layout):
        prefix = PrefixCache(layout, config.prefix_block)
    memory = Memory(total, runner, prefix)
    scheduler = Scheduler(
        max_rows=config.max_running_requests,
        max_waiting=config.max_waiting_requests,
        padding=1.5 if on_gpu else 1.1,
        prefix=prefix,
        shapes=runner.shapes,
    )
    pace = Pace(config.prefill_share, largest)
    core = EngineCore(runner, loaded.vocab_size, memory, scheduler, pace, config, deliver)
    preparer = Preparer(loaded, config, memory.check, memory.longest)
    if config.warm_up:
        warm_up(core, loaded.max_model_len, check)
    embedder = make_embedder(loaded, core, config, device)
    info = describe(loaded, model_id, config, preparer, embedder)
    return Assembly(loaded, info, core, preparer, device, embedder)


def make_embedder(
    loaded: LoadedModel, core: EngineCore, config: EngineConfig, device: DeviceThread
) -> EmbeddingTurns | None:
    """What embeds with the same weights; None for models that give no token vectors."""
    model = getattr(core.runner, "model", None)
    forward = model.vectors if isinstance(model, llama.LlamaForward) else None
    try:
        embedding = embedding_model(loaded, forward)
    except Unsupported:
        return None
    limits = QueueLimits(requests=config.max_waiting_requests)
    scheduler = EmbeddingScheduler(embedding, queue_limits=limits, wake=device.wake)
    return EmbeddingTurns(scheduler, core)


def make_runner(loaded: LoadedModel, config: EngineConfig) -> tuple[Runner, KVLayout | None]:
    """The fast runner where all layers keep plain keys and values, else the general one."""
    from mlx_lm.models import cache as mlx_cache

    compatibility.prepare(loaded.model, loaded.architecture)
    caches = mlx_cache.make_prompt_cache(loaded.model)
    if all(type(cache) is mlx_cache.KVCache for cache in caches):
        loaded.model(mx.array([[0]]), cache=caches)
        layout = KVLayout.of([(cache.keys, cache.values) for cache in caches])
        model = loaded.model
        if config.fuse_projections and llama.eligible(model):
            model = llama.LlamaForward(model)
        return SlotRunner(model, layout, loaded.max_model_len), layout
    return CacheRunner(loaded.model, loaded.architecture), None


def _working_bytes(loaded: LoadedModel, tokens: int) -> int:
    """Activations of the largest step: a few widths of the model per token, and logits."""
    hidden = int(loaded.config.get("hidden_size") or loaded.config.get("d_model") or 4096)
    inner = int(loaded.config.get("intermediate_size") or 4 * hidden)
    return tokens * (8 * hidden + 3 * inner) * 4 + 256 * loaded.vocab_size * 4


def describe(
    loaded: LoadedModel,
    model_id: str,
    config: EngineConfig,
    preparer: Preparer,
    embedder: EmbeddingTurns | None,
) -> ModelInfo:
    """What the model is and can do."""
    capabilities = {Capability.GENERATE}
    if loaded.tokenizer.has_chat_template:
        capabilities.add(Capability.CHAT)
    if loaded.tokenizer.supports_tools:
        capabilities.add(Capability.TOOLS)
    if preparer.format.reasons:
        capabilities.add(Capability.REASONING)
    embedding = embedder.scheduler.model if embedder is not None else None
    if embedding is not None:
        capabilities.add(Capability.EMBED)
    return ModelInfo(
        id=model_id,
        architecture=loaded.architecture,
        dtype=loaded.dtype,
        capabilities=frozenset(capabilities),
        weight_bytes=loaded.weight_bytes,
        vocab_size=loaded.vocab_size,
        max_model_len=preparer.max_model_len,
        max_tokens=preparer.max_tokens,
        max_n=preparer.max_n,
        max_running_requests=config.max_running_requests,
        max_waiting_requests=config.max_waiting_requests,
        embedding_dimensions=embedding.dimensions if embedding is not None else 0,
        embedding_pooling=embedding.settings.pooling.value if embedding is not None else "",
        max_embed_inputs=DEFAULT_LIMITS.max_embed_inputs if embedding is not None else 0,
    )
