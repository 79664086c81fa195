"""Settings of worker processes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How models are kept in processes of their own. Times are in seconds."""

    enabled: bool = True
    """Whether `mlxforge serve` gives every model a process; without, its crash ends the server."""
    silent_seconds: float = 1.0
    """A worker not heard of for so long counts as unhealthy."""
    hang_seconds: float = 10.0
    """A worker not heard of for so long is killed and started again."""
    step_seconds: float = 120.0
    """One step of the model, or waiting work without any, may take so long before that."""
    load_attempts: int = 3
    """How often a model is loaded when the worker dies of it, before it counts as failed."""
    max_restart_delay: float = 30.0
    """Longest pause before a model that fails to load again is tried once more."""
    close_seconds: float = 5.0
    """How long a worker may take to end in good order before it is killed."""
