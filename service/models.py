"""From the models named in the settings to a registry of engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from mlxforge.engine.client import EngineClient

from .config import ConfigError, Settings
from .registry import Registry

MakeClient = Callable[[str, str, Settings], EngineClient]
"""Makes the engine of a source under an id."""


def open_registry(settings: Settings, make_client: MakeClient | None = None) -> Registry:
    """A registry of the settings' models, none loaded yet. Raises ``ConfigError``.

    The first model that generates answers requests which name none, the first that embeds
    those to embed.
    """
    make_client = make_client or _in_process
    registry = Registry()
    for name in settings.model or _default_models():
        model_id, source = split_name(name)
        try:
            registry.add(model_id, make_client(model_id, source, settings))
        except ValueError as error:
            raise ConfigError(f"{error}: give one another, as in my-model={source}") from error
    return registry


def split_name(name: str) -> tuple[str, str]:
    """Id and source of ``id=source``; of a plain source the id is its last part."""
    model_id, equals, source = name.partition("=")
    if equals and model_id and source:
        return model_id, source
    return PurePath(name).name.removesuffix(".gguf") or name, name


def _default_models() -> tuple[str, ...]:
    from mlxforge.engine.loader.catalog import DEFAULT_MODELS

    return DEFAULT_MODELS


def _in_process(model_id: str, source: str, settings: Settings) -> EngineClient:
    # Imported here: the engine brings MLX, which a client's command line can do without.
    from mlxforge.engine.engine import Engine

    client: EngineClient = Engine(source, settings.engine, model_id=model_id)
    return client
