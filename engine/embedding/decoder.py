"""A language model as an embedder: its token vectors after the final norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from ..errors import Unsupported

# Where mlx-lm's model classes keep the part below the output projection; models that also
# see have a whole language model inside.
_BACKBONES = ("language_model", "model", "transformer", "backbone")


class DecoderBackbone:
    """Calls a language model without its output projection.

    Attention is causal and padding is on the right, so no valid position ever sees padding:
    neither a mask nor lengths are needed (also for state-space layers).
    """

    def __init__(
        self, forward: Callable[[mx.array], mx.array], *, max_length: int, vocab_size: int
    ) -> None:
        """Raises ``Unsupported`` when ``forward`` does not give token vectors."""
        self.forward = forward
        self.vocab_size = vocab_size
        self.max_length = max_length
        hidden = forward(mx.zeros((1, 1), mx.int32))  # only its shape; nothing is computed
        if hidden.ndim != 3 or hidden.shape[-1] == vocab_size:
            raise Unsupported("the model's class gives no token vectors", reason="CANNOT_EMBED")
        self.dimensions = hidden.shape[-1]

    def __call__(self, tokens: mx.array, lengths: mx.array | None = None) -> mx.array:
        """Vectors (B, L, D) of right-padded tokens (B, L)."""
        return self.forward(tokens)


def find_backbone(model: Any) -> Any:
    """The part of an mlx-lm model that gives token vectors. Raises ``Unsupported``."""
    part = model
    while (inner := next((n for n in _BACKBONES if hasattr(part, n)), None)) is not None:
        part = getattr(part, inner)
    if part is model:
        raise Unsupported(f"{type(model).__module__} has no known backbone", reason="CANNOT_EMBED")
    return part
