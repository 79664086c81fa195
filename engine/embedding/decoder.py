"""A language model as an embedder: its token vectors after the final norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mlx.core as mx

from ..errors import Unsupported

# Where mlx-lm's model classes keep the part below the output projection.
_BACKBONES = ("model", "transformer", "backbone", "language_model")


class DecoderBackbone:
    """Calls a language model without its output projection.

    Attention is causal and padding is on the right, so no valid position ever sees padding:
    neither a mask nor lengths are needed (also for state-space layers).
    """

    def __init__(
        self,
        forward: Callable[[mx.array], mx.array],
        config: Mapping[str, Any],
        *,
        max_length: int,
        vocab_size: int,
    ) -> None:
        self.forward = forward
        text = config.get("text_config") or config
        self.dimensions = int(text.get("hidden_size") or text.get("d_model") or text["n_embd"])
        self.vocab_size = vocab_size
        self.max_length = max_length

    def __call__(self, tokens: mx.array, lengths: mx.array | None = None) -> mx.array:
        """Vectors (B, L, D) of right-padded tokens (B, L)."""
        return self.forward(tokens)


def find_backbone(model: Any) -> Any:
    """The part of an mlx-lm model that gives token vectors. Raises ``Unsupported``."""
    part = model
    for _ in range(3):
        if hasattr(part, "embed_tokens") or hasattr(part, "wte") or hasattr(part, "embeddings"):
            return part
        part = next((getattr(part, n) for n in _BACKBONES if hasattr(part, n)), None)
        if part is None:
            break
    raise Unsupported(f"{type(model).__module__} cannot embed: it has no known backbone")
