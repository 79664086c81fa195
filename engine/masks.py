"""The masks of a step's constrained rows, filled while its forward pass is being launched."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from .grammar import GrammarState, fill_masks

Words = NDArray[np.uint32]


class Masks:
    """Of one step at a time. Launching holds no GIL for most of its time, and filling little."""

    def __init__(self, vocab: int) -> None:
        self._words = -(-vocab // 32)
        self._thread: ThreadPoolExecutor | None = None
        self._filling: Future[tuple[Words, tuple[int, ...]]] | None = None

    @property
    def begun(self) -> bool:
        """Whether a step's masks are being filled."""
        return self._filling is not None

    def begin(self, states: Sequence[GrammarState | None]) -> None:
        """Fill a mask for each; nobody may use the states until ``finish`` has returned."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlxforge-masks")
        self._filling = self._thread.submit(self._fill, list(states))

    def finish(self) -> tuple[Words, tuple[int, ...]]:
        """The masks, shape (rows, words), and the rows whose state failed."""
        filling, self._filling = self._filling, None
        if filling is None:
            raise RuntimeError("no masks were begun")
        return filling.result()

    def drop(self) -> None:
        """Forget what was begun, after a failed step."""
        if self._filling is not None:
            self._filling.exception()  # waits: the states belong to the filling until then
            self._filling = None

    def close(self) -> None:
        """End the thread."""
        self.drop()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _fill(self, states: list[GrammarState | None]) -> tuple[Words, tuple[int, ...]]:
        masks = np.empty((len(states), self._words), np.uint32)
        return masks, fill_masks(states, masks)
