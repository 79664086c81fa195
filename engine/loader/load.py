"""From a model's name or path to a model in memory."""

from __future__ import annotations

from pathlib import Path

from ..errors import LoadError
from .catalog import PACKAGED_MODELS, locate
from .model import LoadedModel, ProgressCallback


def resolve(source: str, progress: ProgressCallback | None = None) -> Path:
    """Find a model's files; needs no MLX and may run on any thread. Raises ``LoadError``."""
    if source in PACKAGED_MODELS:
        return locate(PACKAGED_MODELS[source])
    path = Path(source).expanduser()
    if path.exists():
        return path
    raise LoadError(f"model {source!r}: no such file or folder")


def load_model(
    source: str, *, progress: ProgressCallback | None = None, dtype: str | None = None
) -> LoadedModel:
    """Load a model. All MLX work happens in this call, on the calling thread.

    ``dtype``: ``float32``, ``bfloat16`` or ``float16``; None takes what suits the platform.
    Raises ``LoadError``.
    """
    path = resolve(source, progress)
    import mlx.core as mx

    from .gguf_model import load_gguf

    chosen = None if dtype is None else getattr(mx, dtype)
    return load_gguf(path, chosen, progress)
