"""mlx-lm's model classes, by ``model_type``."""

from __future__ import annotations

import importlib
from typing import Any

import mlx.nn as nn

from ..errors import LoadError
from . import mlx_lm_package


def build_model(config: dict[str, Any]) -> nn.Module:
    """A model with random weights for a configuration. Raises ``LoadError``."""
    mlx_lm_package.prepare()
    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    try:
        model: nn.Module = module.Model(module.ModelArgs.from_dict(config))
    except (TypeError, ValueError, KeyError) as error:
        raise LoadError(f"the model's configuration is not usable: {error}") from error
    model.eval()
    return model
