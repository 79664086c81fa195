"""From the models named in the settings to a registry of engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING

from mlxforge.engine.client import EngineClient

from .config import ConfigError, Settings
from .registry import Registry

if TYPE_CHECKING:
    from mlxforge.engine.loader import ProgressCallback

ProgressOf = Callable[[str], "ProgressCallback | None"]
"""Who hears, on any thread, how far the load of a model is."""


def _silent(model_id: str) -> None:
    return None


def open_registry(settings: Settings, progress: ProgressOf = _silent) -> Registry:
    """A registry of the settings' models, none loaded yet. Raises ``ConfigError``.

    The first model that generates answers requests which name none, the first that embeds
    those to embed.
    """
    registry = Registry()
    for name in settings.model or default_models():
        model_id, source = split_name(name)
        try:
            registry.add(model_id, _engine(model_id, source, settings, progress(model_id)))
        except ValueError as error:
            raise ConfigError(f"{error}: give one another, as in my-model={source}") from error
    return registry


def split_name(name: str) -> tuple[str, str]:
    """Id and source of ``id=source``; of a plain source the id is its last part."""
    model_id, equals, source = name.partition("=")
    if equals and model_id and source:
        return model_id, source
    return PurePath(name).name.removesuffix(".gguf") or name, name


def default_models() -> tuple[str, ...]:
    """The models served when none is named: one that generates, then one that embeds."""
    from mlxforge.engine.loader.catalog import DEFAULT_MODELS

    return DEFAULT_MODELS


def _engine(
    model_id: str, source: str, settings: Settings, progress: ProgressCallback | None
) -> EngineClient:
    # Imported here: the engine brings MLX, which a client's command line can do without.
    from mlxforge.engine.local import LocalEngine

    return LocalEngine(source, settings.engine, model_id=model_id, progress=progress)
