"""What a load gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, ready to run.

    ``vocab_size`` is the width of its logits, padding included; ``weight_bytes`` what its
    parameters take; ``dtype`` how they are stored (``float32``, ``bfloat16``, ``4-bit``, …);
    ``max_model_len`` the most positions, prompt and answer together.
    """

    model: Any
    tokenizer: Tokenizer
    config: dict[str, Any]
    generation_config: dict[str, Any]
    architecture: str
    dtype: str
    weight_bytes: int
    max_model_len: int
    vocab_size: int
    eos_token_ids: frozenset[int]
    path: Path
