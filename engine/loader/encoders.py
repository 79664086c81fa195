"""Encoders (BERT and its kin), which mlx-lm does not have: who builds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import mlx.core as mx

EncoderBuilder = Callable[[Mapping[str, Any], "Mapping[str, mx.array]"], Any]
"""From ``config.json`` and the stored weights to a module with its weights, not evaluated.

The module has ``vocab_size`` (rows of its embedding table) and ``max_length`` (positions).
"""

_registered: dict[str, EncoderBuilder] = {}


def register_encoder(model_type: str, builder: EncoderBuilder) -> None:
    """Have models of this ``model_type`` built by ``builder``."""
    _registered[model_type] = builder


def encoder_builder(model_type: str) -> EncoderBuilder | None:
    """Who builds models of this type; None when it is no encoder."""
    if model_type in _registered:
        return _registered[model_type]
    from ..embedding.model import ENCODERS, build_encoder

    return build_encoder if model_type in ENCODERS else None
