"""Opens the engines of one ``mlxforge_engine_open``."""

from __future__ import annotations

from mlxforge.engine.errors import InvalidRequest

from ..api import Api
from ..config import ConfigError, Settings
from ..models import open_registry


async def open_api(settings: Settings) -> Api:
    """Load the settings' models in this process, one after the other. Raises ``EngineError``."""
    try:
        registry = open_registry(settings)
    except ConfigError as error:
        raise InvalidRequest.of("config_json", str(error)) from error
    try:
        for entry in list(registry):
            await registry.load(entry.id)
    except BaseException:
        await registry.close()
        raise
    return Api(registry, settings.limits)
