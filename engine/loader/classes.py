"""mlx-lm's model classes, by ``model_type``. The one place that imports them."""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import Any

import mlx.nn as nn

from ..errors import LoadError
from . import mlx_lm_package

_MODULE_NAME = re.compile(r"[A-Za-z0-9][\w-]*")


def model_classes(config: dict[str, Any]) -> tuple[Any, Any]:
    """mlx-lm's ``Model`` and ``ModelArgs``. Raises ``LoadError`` naming an unknown type."""
    mlx_lm_package.prepare()
    name = str(config["model_type"])
    if not _MODULE_NAME.fullmatch(name) or not importlib.util.find_spec(f"mlx_lm.models.{name}"):
        raise LoadError(f"the architecture {name!r} is not supported")
    module = importlib.import_module(f"mlx_lm.models.{name}")
    if not hasattr(module, "Model") or not hasattr(module, "ModelArgs"):
        raise LoadError(f"the architecture {name!r} is not supported")
    return module.Model, module.ModelArgs


def remapped_classes(config: dict[str, Any]) -> tuple[Any, Any]:
    """As ``model_classes``, with mlx-lm's table of types that share a class.

    Importing that table imports transformers, which takes a second or two; a model folder
    needs ``mlx_lm.utils`` for its quantization anyway, a GGUF file does not.
    """
    utils = mlx_lm_utils()
    name = config["model_type"]
    architectures = config.get("architectures") or ()
    by_class = (utils.MODEL_ARCHITECTURE_REMAPPING.get((name, a)) for a in architectures)
    mapped = next(filter(None, by_class), None) or utils.MODEL_REMAPPING.get(name, name)
    return model_classes({**config, "model_type": mapped})


def mlx_lm_utils() -> Any:
    """``mlx_lm.utils``, imported without its effect on the process's limits."""
    mlx_lm_package.prepare()
    with mlx_lm_package.unchanged_file_limit():
        return importlib.import_module("mlx_lm.utils")


def build_model(config: dict[str, Any]) -> nn.Module:
    """A model with random weights for a configuration.

    Raises ``LoadError`` for an unknown type, and anything for settings that make no sense.
    """
    model_class, args_class = model_classes(config)
    model: nn.Module = model_class(args_class.from_dict(config))
    model.eval()
    return model
