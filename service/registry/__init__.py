"""The models the service knows, by id: the engine behind each, and how they come and go."""

from .entry import EngineFactory, ModelEntry, ModelState
from .registry import Registry
from .settings import ModelsSettings

__all__ = ["EngineFactory", "ModelEntry", "ModelState", "ModelsSettings", "Registry"]
