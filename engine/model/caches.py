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


@dataclass(slots=True)
class CachePrefill:
    """One prompt's caches, a list per layer."""

    caches: list[Any]
    offset: int = 0
    rows: int = 1

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(int(c.nbytes) for c in self.caches if not c.empty())


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
        # Bytes per position and per row, measured at the first prefills.
        self._token_bytes = 0
        self._row_bytes = 0

    @property
    def rows(self) -> int:
        """How many rows run."""
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of the batch's caches."""
        return sum(int(c.nbytes) for c in self._batch if not c.empty()) if self._rows else 0

    def width(self, rows: int) -> int:
        """See ``Runner.width``: always exact."""
        return rows

    def measure(self, short: int, long: int) -> None:
        """Learn what a row costs from two prompts of filler tokens."""
        sizes = []
        for length in (short, long):
            prefill = self.open(1, length)
            self.advance(prefill, [[0] * length])
            sizes.append(prefill.nbytes)
        self._token_bytes = max(0, -(-(sizes[1] - sizes[0]) // (long - short)))
        self._row_bytes = max(0, sizes[0] - self._token_bytes * short)

    def cost(self, rows: int, length: int) -> int:
        """See ``Runner.cost``; an upper bound where windows slide."""
        return rows * (self._row_bytes + self._token_bytes * (length + 256))

    def holds(self, rows: int, length: int) -> bool:
        """Never known beforehand: these caches grow by themselves, so the budget is asked."""
        return False

    def reserve(self, rows: int, length: int, *, exact: bool = False) -> None:
        """Nothing to do: these caches grow by themselves."""

    def open(self, rows: int, length: int) -> CachePrefill:
        """See ``Runner.open``; one prompt at a time."""
        assert rows == 1, "the general runner prefills one prompt at a time"
        return CachePrefill(mlx_cache.make_prompt_cache(self.model))

    def advance(self, prefill: CachePrefill, tokens: Sequence[Sequence[int]]) -> None:
        """See ``Runner.advance``."""
        self.model(mx.array(tokens), cache=prefill.caches)
        prefill.offset += len(tokens[0])
        mx.eval([cache.state for cache in prefill.caches])

    def join(self, prefill: CachePrefill | None, sources: Sequence[int], length: int) -> None:
        """See ``Runner.join``."""
        own = prefill.caches if prefill is not None else mlx_cache.make_prompt_cache(self.model)
        fresh = [cache.merge([cache] * len(sources)) for cache in own]
        if self._rows:
            for held, new in zip(self._batch, fresh, strict=True):
                held.extend(new)
        else:
            self._batch = fresh
        self._rows += len(sources)

    def decode(self, tokens: mx.array, lengths: Sequence[int]) -> mx.array:
        """See ``Runner.decode``."""
        logits: mx.array = self.model(tokens[:, None], cache=self._batch)
        return logits[:, -1]

    def keep(self, order: Sequence[int]) -> None:
        """See ``Runner.keep``."""
        if len(order) == self._rows and all(i == j for i, j in enumerate(order)):
            return
        if order:
            index = mx.array(order)
            for cache in self._batch:
                cache.filter(index)
        else:
            self._batch = []
        self._rows = len(order)

    def release(self) -> None:
        """See ``Runner.release``."""
        self._batch = []
        self._rows = 0
