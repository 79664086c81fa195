"""How long a model's input may be, and which tokens end its output, by its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

UNBOUNDED = 1 << 20
"""Positions of models whose settings name no limit (state-space models)."""

_POSITION_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
    "max_seq_length",
    "model_max_length",
)
# Their max_position_embeddings is the scaled one already (as in vLLM's rule).
_SCALED_ALREADY = ("su", "longrope", "llama3", "mrope", "default", "proportional")


def max_model_len(config: Mapping[str, Any]) -> int:
    """Positions that a model takes, rope scaling counted in (vLLM's rule)."""
    text = {**config, **(config.get("text_config") or {})}
    positions = [_positive(text.get(key)) for key in _POSITION_KEYS]
    limit = min(filter(None, positions), default=0.0)
    if not limit:
        return UNBOUNDED
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    factor = _positive(scaling.get("factor"))
    scaled = kind in _SCALED_ALREADY or "gemma3" in str(text.get("model_type"))
    if not scaled and factor:
        limit = (_positive(scaling.get("original_max_position_embeddings")) or limit) * factor
    return min(int(limit), 1 << 31)


def eos_ids(*settings: Mapping[str, Any]) -> set[int]:
    """The ends named by ``eos_token_id`` (one or a list) in any of the settings."""
    found: set[int] = set()
    for values in (*settings, *(s.get("text_config") or {} for s in settings)):
        value = values.get("eos_token_id")
        ids: Iterable[Any] = value if isinstance(value, list) else [value]
        found.update(i for i in ids if isinstance(i, int) and not isinstance(i, bool) and i >= 0)
    return found


def _positive(value: Any) -> float:
    """A usable number, else 0."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1 << 40
    return float(value) if usable else 0.0
