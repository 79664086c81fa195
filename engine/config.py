"""Settings of one engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How one model is served. Sizes are in bytes, times in seconds.

    ``memory_budget`` is everything the engine may hold on the device, weights included;
    values up to 1 are a share of the device's memory (of the machine's, on CPU).
    """

    dtype: str | None = None
    max_running_requests: int = 128
    max_waiting_requests: int = 1024
    max_model_len: int | None = None
    max_tokens: int | None = None
    max_n: int = 16
    memory_budget: float = 0.8
    # Prompt tokens per step while nothing decodes; None: what suits the device.
    max_prefill_tokens: int | None = None
    # A prefill chunk between two decode steps takes at most this many decode steps' time,
    # so that running streams keep an even pace (see docs/engine.md).
    prefill_share: float = 1.5
    prefix_cache: bool = True
    # Tokens per block of the prefix cache.
    prefix_block: int = 64
    # Fuse Q/K/V and gate/up projections where the model's classes allow it.
    fuse_projections: bool = True
    # Steps run at load, so that no request pays for compiling kernels, and the helper process
    # that compiles constraints is started (50 MB).
    warm_up: bool = True
