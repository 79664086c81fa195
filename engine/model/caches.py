"""The general runner: mlx-lm's own batch caches, for every architecture that has them.

Prompts are prefilled one by one, each in a cache of its own, and merged into the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.models import cache as mlx_cache

from ..errors import Unsupported
from .runner import Midway
from .shapes import PrefillShapes

# mlx-lm's caches grow by this many positions at a time.
_GROWTH = 256


@dataclass(slots=True)
class CachePrefill:
    """One prompt's caches, a list per layer; ``reserved`` is what they may grow to."""

    caches: list[Any]
    reserved: int
    offset: int = 0
    rows: int = 1

    @property
    def nbytes(self) -> int:
        """Bytes held, or spoken for."""
        return max(self.reserved, _size(self.caches))


@dataclass(frozen=True, slots=True)
class CacheCost:
    """What one layer's cache takes: per row, and per position up to ``limit`` of them."""

    row_bytes: int
    token_bytes: int = 0
    limit: int | None = None

    def of(self, length: int, *, windowed: bool) -> int:
        """Bytes of a row of ``length`` positions; ``windowed``: no more than its window."""
        length += _GROWTH
        if windowed and self.limit is not None:
            length = min(length, self.limit)
        return self.row_bytes + self.token_bytes * length


def costs_of(caches: Sequence[Any]) -> list[CacheCost]:
    """What the caches of a prefilled row cost, layer by layer."""
    costs: list[CacheCost] = []
    for cache in caches:
        if isinstance(cache, mlx_cache.CacheList):
            costs += costs_of(cache.caches)
        elif isinstance(cache, mlx_cache.KVCache | mlx_cache.RotatingKVCache):
            if cache.keys is not None:
                size = int(cache.nbytes) // cache.keys.shape[2]
                costs.append(CacheCost(0, size, getattr(cache, "max_size", None)))
        else:
            costs.append(CacheCost(_size([cache])))
    return costs


def _size(caches: Sequence[Any]) -> int:
    total = 0
    for cache in caches:
        if isinstance(cache, mlx_cache.CacheList):
            total += _size(cache.caches)
        elif not cache.empty():
            total += int(cache.nbytes)
    return total


def unbatchable(caches: Sequence[Any]) -> str | None:
    """The name of the first cache class that has no batch form; None when all have."""
    for cache in caches:
        if isinstance(cache, mlx_cache.CacheList):
            inner = unbatchable(cache.caches)
            if inner is not None:
                return inner
        elif not hasattr(cache, "merge"):
            return type(cache).__name__
    return None


class CacheRunner:
    """See ``runner.Runner``."""

    prefill_rows = 1
    shapes = PrefillShapes()

    def __init__(self, model: Any, architecture: str) -> None:
        self.model = model
        refused = unbatchable(mlx_cache.make_prompt_cache(model))
        if refused is not None:
            raise Unsupported(
                f"the architecture {architecture} keeps its state in {refused}, which has no "
                "batch form yet; it cannot be served",
                reason="ARCHITECTURE_NOT_BATCHABLE",
            )
        self._batch: list[Any] = []
        self._rows = 0
        caches = mlx_cache.make_prompt_cache(model)
        model(mx.array([[0, 0]]), cache=caches)
        self._costs = costs_of(caches)

    @property
    def rows(self) -> int:
        """How many rows run."""
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of the batch's caches."""
        return _size(self._batch)

    def width(self, rows: int) -> int:
        """See ``Runner.width``: always exact."""
        return rows

    def widths(self, most: int) -> list[int]:
        """See ``Runner.widths``: a sample, for all of them would take long."""
        on_gpu = mx.default_device().type == mx.DeviceType.gpu
        return [rows for rows in (1, 8, 32) if rows <= most] if on_gpu else [1]

    def cost(self, rows: int, length: int) -> int:
        """See ``Runner.cost``."""
        return rows * sum(cost.of(length, windowed=True) for cost in self._costs)

    def prefill_cost(self, rows: int, length: int) -> int:
        """See ``Runner.prefill_cost``; a chunk may be longer than a window."""
        return rows * sum(cost.of(length, windowed=False) for cost in self._costs)

    def holds(self, rows: int, length: int) -> bool:
        """Never known beforehand: these caches grow by themselves, so the budget is asked."""
        return False

    def reserve(self, rows: int, length: int, most: int) -> None:
        """Nothing to do: these caches grow by themselves."""

    def open(self, rows: int, length: int) -> CachePrefill:
        """See ``Runner.open``; one prompt at a time."""
        reserved = self.prefill_cost(rows, length)
        return CachePrefill(mlx_cache.make_prompt_cache(self.model), reserved)

    def advance(self, prefill: CachePrefill, tokens: Sequence[Sequence[int]]) -> None:
        """See ``Runner.advance``."""
        self.model(mx.array([list(row) for row in tokens]), cache=prefill.caches)
        prefill.offset += len(tokens[0])
        mx.eval([cache.state for cache in prefill.caches])

    def join(
        self, prefill: CachePrefill | None, sources: Sequence[int], lengths: Sequence[int]
    ) -> None:
        """See ``Runner.join``."""
        own = prefill.caches if prefill is not None else mlx_cache.make_prompt_cache(self.model)
        fresh = [cache.merge([cache] * len(sources)) for cache in own]
        if self._rows:
            for held, new in zip(self._batch, fresh, strict=True):
                held.extend(new)
        else:
            self._batch = fresh
        self._rows += len(sources)

    def decode(self, tokens: mx.array, lengths: Sequence[int], midway: Midway = None) -> mx.array:
        """See ``Runner.decode``."""
        logits: mx.array = self.model(tokens[:, None], cache=self._batch)
        return logits[:, -1]

    def keep(self, order: Sequence[int]) -> None:
        """See ``Runner.keep``."""
        if len(order) == self._rows and all(i == j for i, j in enumerate(order)):
            return
        if order:
            index = mx.array(list(order))
            for cache in self._batch:
                cache.filter(index)
        else:
            self._batch = []
        self._rows = len(order)

    def release(self) -> None:
        """See ``Runner.release``."""
        self._batch = []
        self._rows = 0
