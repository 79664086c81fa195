"""Loads models: Hugging Face ids, local folders, GGUF files and packaged models."""

from . import mlx_lm_package
from .catalog import DEFAULT_MODELS, PACKAGED_MODELS
from .encoders import register_encoder
from .load import load_model, resolve
from .model import LoadedModel
from .progress import Progress, ProgressCallback

# Before anything imports a part of mlx-lm; see there.
mlx_lm_package.prepare()

__all__ = [
    "DEFAULT_MODELS",
    "PACKAGED_MODELS",
    "LoadedModel",
    "Progress",
    "ProgressCallback",
    "load_model",
    "register_encoder",
    "resolve",
]
