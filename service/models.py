"""From the models named in the settings to a registry of engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mlxforge.engine.client import EngineClient
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.errors import EngineError

from .config import ConfigError, Settings
from .registry import EngineFactory, Registry
from .registry.room import Room, weight_file_bytes
from .registry.sources import Sources, default_id

if TYPE_CHECKING:
    from mlxforge.engine.loader import ProgressCallback

ProgressOf = Callable[[str], "ProgressCallback | None"]
"""Who hears, on any thread, how far the load of a model is."""


def _silent(model_id: str) -> None:
    return None


def open_registry(
    settings: Settings, progress: ProgressOf = _silent, *, workers: bool = False
) -> Registry:
    """A registry of the settings' models, none loaded yet. Raises ``ConfigError``.

    The first model that generates answers requests which name none, the first that embeds
    those to embed. ``workers``: every model gets a process of its own, and this one never
    imports MLX.
    """
    sources = Sources(settings.models.allow, packaged_models())

    def changed(model_id: str, failure: EngineError | None) -> None:
        registry.engine_changed(model_id, failure)

    make = worker_factory(settings, changed) if workers else local_factory(settings)
    registry = Registry(
        make,
        settings.models,
        sources=sources,
        open_room=partial(_open_room, settings, workers),
    )
    for name in settings.model or default_models():
        model_id, source = split_name(name)
        try:
            registry.add(model_id, source=source, progress=progress(model_id))
        except ValueError as error:
            raise ConfigError(f"{error}: give one another, as in my-model={source}") from error
    return registry


def split_name(name: str) -> tuple[str, str]:
    """Id and source of ``id=source``; of a plain source the id is its last part."""
    model_id, equals, source = name.partition("=")
    if equals and model_id and source:
        return model_id, source
    return default_id(name), name


def default_models() -> tuple[str, ...]:
    """The models served when none is named: one that generates, then one that embeds."""
    from mlxforge.engine.loader.catalog import DEFAULT_MODELS

    return DEFAULT_MODELS


def packaged_models() -> Iterable[str]:
    """Names of the models that come as Python packages."""
    from mlxforge.engine.loader.catalog import PACKAGED_MODELS

    return PACKAGED_MODELS


def local_factory(settings: Settings) -> EngineFactory:
    """Makes engines in this process."""

    def make(
        model_id: str,
        source: str,
        *,
        progress: ProgressCallback | None = None,
        memory_budget: float | None = None,
    ) -> EngineClient:
        # Imported here: the engine brings MLX, which a client's command line can do without.
        from mlxforge.engine.local import LocalEngine

        config = _engine_config(settings, memory_budget)
        return LocalEngine(source, config, model_id=model_id, progress=progress)

    return make


def worker_factory(
    settings: Settings, changed: Callable[[str, EngineError | None], None]
) -> EngineFactory:
    """Makes engines in processes of their own.

    ``changed`` is told of a model whose health may have changed, and what keeps it out of service.
    """
    from .worker.engine import WorkerEngine

    def make(
        model_id: str,
        source: str,
        *,
        progress: ProgressCallback | None = None,
        memory_budget: float | None = None,
    ) -> EngineClient:
        return WorkerEngine(
            source,
            _engine_config(settings, memory_budget),
            model_id=model_id,
            limits=settings.limits,
            worker=settings.worker,
            progress=progress,
            changed=partial(changed, model_id),
        )

    return make


def _engine_config(settings: Settings, memory_budget: float | None) -> EngineConfig:
    if memory_budget is None:
        return settings.engine
    return replace(settings.engine, memory_budget=memory_budget)


async def _open_room(settings: Settings, workers: bool) -> Room:
    device_bytes = await (_asked_device_bytes() if workers else _device_bytes())
    return Room.of(settings.models, settings.engine.memory_budget, device_bytes, weight_file_bytes)


async def _asked_device_bytes() -> int:
    """Memory of the device, as a process that imports MLX says. Raises ``LoadError``."""
    from .worker.device import ask_device_bytes

    return await ask_device_bytes()


async def _device_bytes() -> int:
    """Memory of the device of this process."""
    from mlxforge.engine import blas
    from mlxforge.engine.device import DeviceThread

    blas.preload()  # before the first import of MLX in the process

    def ask() -> int:
        from mlxforge.engine.kv.budget import device_bytes

        return device_bytes()

    return await asyncio.wrap_future(DeviceThread.shared().call(ask))
