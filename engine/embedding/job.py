"""An embedding request on its way from its inputs to their vectors."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..output import EmbeddingOutput
from ..request import EmbeddingRequest
from .model import RowSettings

# One chunk takes a tokenizer thread some tens of milliseconds at most.
_CHUNK_INPUTS = 256
_CHUNK_CHARS = 1 << 17


@dataclass(slots=True, eq=False)
class Job:
    """Touched by one thread at a time."""

    request: EmbeddingRequest
    settings: RowSettings
    prompt: str
    size: int
    future: Future[EmbeddingOutput] = field(default_factory=Future)
    encoded: int = 0  # inputs tokenized
    finished: int = 0  # inputs embedded
    tokens: int = 0
    vectors: NDArray[np.float32] | None = None
    truncated: list[bool] = field(default_factory=list)
    over: bool = False

    def chunk_end(self) -> int:
        """Past-the-last input of the chunk to tokenize next."""
        inputs, start = self.request.inputs, self.encoded
        chars = 0
        for stop in range(start, min(start + _CHUNK_INPUTS, len(inputs))):
            chars += len(inputs[stop])
            if chars >= _CHUNK_CHARS:
                return stop + 1
        return min(start + _CHUNK_INPUTS, len(inputs))
