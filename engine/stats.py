"""Counters of one engine since it was loaded."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What ``EngineClient.stats`` says: the state of an engine at one moment, and totals.

    Plain numbers, so that they travel from a worker. Totals only grow until the model is
    loaded anew (by a worker that starts again, too), then they begin at 0; ``restarts`` does
    not. All are 0 before the model is loaded.
    """

    running: int = 0
    """Choices in prefill or decode; requests, for embeddings."""
    waiting: int = 0
    """Requests in the queue, and choices that were put back into it."""
    kv_used_bytes: int = 0
    """KV memory held by running rows, prefills and cached prefixes."""
    kv_prefix_bytes: int = 0
    """Of ``kv_used_bytes``, what cached prefixes hold: it is given up for requests."""
    kv_total_bytes: int = 0
    """The budget of KV memory."""
    prefix_queries: int = 0
    """Prompt tokens looked up in the prefix cache."""
    prefix_hits: int = 0
    """Of ``prefix_queries``, those found."""
    prompt_tokens: int = 0
    """Prompt tokens computed: neither those found in the prefix cache nor padding."""
    generated_tokens: int = 0
    """Tokens sampled and handed out."""
    preemptions: int = 0
    """Running choices put back into the queue for want of KV memory."""
    rejected: int = 0
    """Requests turned away because the queue was full."""
    steps: int = 0
    """Decode steps, and batches of embeddings."""
    step_seconds: float = 0.0
    """Time spent in steps that had something to do, prefills included."""
    memory_active_bytes: int = 0
    """Memory of MLX's arrays in the engine's process: weights, KV memory, activations."""
    memory_cache_bytes: int = 0
    """Freed buffers that MLX keeps for reuse."""
    memory_peak_bytes: int = 0
    """The most that ``memory_active_bytes`` has been."""
    restarts: int = 0
    """How often the engine's worker process was started again; 0 without one."""

    def plus(self, totals: Stats, *, running: int, waiting: int) -> EngineStats:
        """With what one scheduler of the engine does and did added."""
        return dataclasses.replace(
            self,
            kv_used_bytes=self.kv_used_bytes + totals.kv_bytes,
            running=self.running + running,
            waiting=self.waiting + waiting,
            steps=self.steps + totals.steps,
            step_seconds=self.step_seconds + totals.step_seconds,
            prompt_tokens=self.prompt_tokens + totals.prompt_tokens,
            generated_tokens=self.generated_tokens + totals.generated_tokens,
            preemptions=self.preemptions + totals.preemptions,
            rejected=self.rejected + totals.rejected,
        )


@dataclass(slots=True)
class Stats:
    """What one scheduler does and did: written by one thread, read by others."""

    steps: int = 0
    step_seconds: float = 0.0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    preemptions: int = 0
    rejected: int = 0
    kv_bytes: int = 0
    """KV memory held after the last step."""
