"""Loads models: Hugging Face ids, local folders, GGUF files and packaged models."""

from .catalog import DEFAULT_MODELS, PACKAGED_MODELS
from .encoders import register_encoder
from .load import load_model, resolve
from .model import LoadedModel
from .progress import Progress, ProgressCallback

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
