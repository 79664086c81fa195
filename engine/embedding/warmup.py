"""Runs batches of the usual shapes, so that no request waits for kernels to compile."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from .batching import BatchPolicy
from .model import EmbeddingModel, RowSettings

# Longer texts are rarer, and their kernels mostly those of this width.
_LARGEST = 512


def warm_up(model: EmbeddingModel, policy: BatchPolicy) -> None:
    """Embed once, on GPUs at every power of two of the width, alone and in a full batch.

    On the MLX thread. Fails as the first request would.
    """
    settings = RowSettings(model.settings.pooling, model.dimensions, True)
    largest = min(_LARGEST, model.max_length)
    width = min(16, largest)
    while True:
        full = max(1, min(policy.max_tokens // width, policy.max_rows))
        for height in {1, full} if policy.round_rows else {1}:
            for length in {width, max(1, width - 1)}:  # without and with a mask
                ids = np.ones(length, np.int32)
                mx.eval(model.embed([([ids], settings)], width=width, height=height))
        if width == largest or not policy.round_rows:
            return
        width = min(2 * width, largest)
