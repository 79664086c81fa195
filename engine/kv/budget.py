"""How much memory the engine may hold, and what holds it."""

from __future__ import annotations

import os

import mlx.core as mx

from ..errors import LoadError
from ..stats import EngineStats


def device_bytes() -> int:
    """Memory of the device: the GPU's, or the machine's (its cgroup's, where smaller)."""
    if mx.default_device().type == mx.DeviceType.gpu:
        info = mx.device_info()
        for key in ("max_recommended_working_set_size", "memory_size", "total_memory"):
            if info.get(key):
                return int(info[key])
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit:
            return min(total, int(limit.read()))
    except (OSError, ValueError):
        return total


def device_stats() -> EngineStats:
    """What MLX holds for the whole process. Any thread may ask."""
    return EngineStats(
        memory_active_bytes=mx.get_active_memory(),
        memory_cache_bytes=mx.get_cache_memory(),
        memory_peak_bytes=mx.get_peak_memory(),
    )


def kv_bytes(budget: float, weights: int, working: int) -> int:
    """Bytes for KV memory under ``budget`` (a share up to 1, or bytes).

    ``weights`` and ``working`` (activations of the largest step) come off first.
    Raises ``LoadError`` when nothing would be left.
    """
    allowed = int(budget * device_bytes()) if budget <= 1 else int(budget)
    left = allowed - weights - working
    if left <= 0:
        raise LoadError(
            f"the model takes {_size(weights)} and its steps up to {_size(working)}, but the "
            f"memory budget is {_size(allowed)}; raise memory_budget or choose a smaller or "
            "quantized model",
            reason="MEMORY_BUDGET_TOO_SMALL",
        )
    return left


_cached = 0


def limit_cache(working: int) -> None:
    """Let MLX keep freed buffers only up to the largest engine's ``working`` bytes.

    Its own limit is most of the device's memory: freed KV memory and activations of odd
    sizes would pile up there, beyond any budget. On the MLX thread.
    """
    global _cached
    _cached = max(_cached, working)
    mx.set_cache_limit(_cached)


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


describe_bytes = _size
