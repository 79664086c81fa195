"""From a model's name or path to a model in memory."""

from __future__ import annotations

from pathlib import Path

from .. import blas
from ..errors import LoadError
from .catalog import PACKAGED_MODELS, locate
from .hub import HUB_ID, download
from .model import LoadedModel
from .progress import ProgressCallback, Reporter


def resolve(
    source: str, progress: ProgressCallback | None = None, *, offline: bool = False
) -> Path:
    """Find a model's files, or fetch them; needs no MLX and may run on any thread.

    ``source``: the name of a packaged model, a folder, a ``.gguf`` file, or a Hugging Face
    id (see ``hub.HUB_ID``), looked for in this order. Raises ``LoadError``.
    """
    if source in PACKAGED_MODELS:
        return locate(PACKAGED_MODELS[source])
    path = Path(source).expanduser()
    if source and path.exists():
        return path
    if HUB_ID.fullmatch(source):
        return download(source, progress, offline=offline)
    names = ", ".join(PACKAGED_MODELS)
    raise LoadError(
        f"model {source!r} is no file, no folder, no Hugging Face id (owner/name) and none of "
        f"the packaged models ({names})"
    )


def load_model(
    source: str,
    *,
    progress: ProgressCallback | None = None,
    dtype: str | None = None,
    offline: bool = False,
) -> LoadedModel:
    """Load a model. All MLX work happens in this call, on the calling thread.

    ``source`` is as in ``resolve``; give the path that ``resolve`` returned to load what was
    fetched before. ``dtype``: ``float32``, ``bfloat16`` or ``float16`` makes all weights of
    that type; None takes what suits the platform. What ``progress`` raises ends the load.
    Raises ``LoadError``.
    """
    path = resolve(source, progress, offline=offline)
    blas.preload()  # before the first import of MLX in the process
    from .arrays import dtype_named
    from .folder_model import load_folder
    from .gguf_model import load_gguf

    wanted = dtype_named(dtype)
    if path.is_dir():
        return load_folder(path, wanted, Reporter(progress))
    if path.suffix == ".gguf":
        return load_gguf(path, wanted, Reporter(progress))
    raise LoadError(f"{path.name} is neither a model's folder nor a .gguf file")
