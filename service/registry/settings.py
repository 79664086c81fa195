"""Settings of the models' coming and going."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelsSettings:
    """Which models may be loaded, how many at once, and when they are unloaded."""

    allow: tuple[str, ...] = ()
    """What LoadModel may load, beside the models named at start and the packaged ones: patterns
    of Hugging Face ids (`mlx-community/*`) and of paths (`/models/*`)."""
    memory_budget: float = 0.8
    """What all models together may hold, weights and KV memory: bytes, or a share up to 1 of
    the device's memory. Each model gets a part of it."""
    max_loaded: int = 0
    """Most models in memory at once; the budget is divided for so many. 0: as many as fit."""
    max_known: int = 64
    """Most models known at once, loaded or not."""
    load_on_demand: bool = True
    """A request for a model that was unloaded to make room, or for being idle, loads it."""
    idle_ttl_seconds: float = 0.0
    """Unload a model after so long without a request. 0: never."""
    unload_grace_seconds: float = 30.0
    """How long running requests may go on when their model is unloaded."""
