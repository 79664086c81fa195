"""A fast BLAS for MLX on Linux CPUs.

The ``mlx-cpu`` wheel links the reference BLAS, which multiplies f32 matrices some
thirty times slower than OpenBLAS. The dynamic linker binds libmlx's ``cblas_*``
symbols to the first library of the process's global scope that has them, so
loading an OpenBLAS with ``RTLD_GLOBAL`` before ``import mlx.core`` is enough to
replace it, also where libpython itself was loaded ``RTLD_LOCAL``.

macOS has Accelerate and is left alone. MLX's CUDA build is left alone too: what
it runs on the CPU is not worth the threads.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

logger = logging.getLogger(__name__)

_SHIM = "lib/libmlxforge_blas.so"
_SYSTEM = "libopenblas.so.0"
_CUDA_BACKENDS = ("mlx-cuda-12", "mlx-cuda-13")
_ADVICE = (
    "no OpenBLAS found: matrix products on this CPU will be about 30 times slower. "
    "Run `pip install 'mlxforge[cpu]'`, or install the system's OpenBLAS "
    "(Debian, Ubuntu: `apt-get install libopenblas0-pthread`)."
)
_TOO_LATE = (
    "mlx.core was imported before mlxforge could put a fast BLAS in front of it: matrix products "
    "will be about 30 times slower. Call mlxforge.engine.blas.preload() first."
)


@cache
def preload() -> str | None:
    """Load a fast BLAS for MLX. Call it before the process first imports ``mlx.core``.

    Returns the path or name of the OpenBLAS in use; None where none is needed
    (not Linux, CUDA build), none was found or MLX is there already: symbols are
    bound when a library is loaded. The last two are logged as warnings that say
    what to do; nothing is raised, because MLX works without.
    Later calls do nothing and return the same.
    """
    if not sys.platform.startswith("linux") or _is_installed(*_CUDA_BACKENDS):
        return None
    if "mlx.core" in sys.modules:
        logger.warning(_TOO_LATE)
        return None
    used = _load_packaged() or _load(_SYSTEM)
    if used is None:
        logger.warning(_ADVICE)
    return used


def _load_packaged() -> str | None:
    """Load PyPI's OpenBLAS and the shim that gives its symbols their standard names."""
    openblas = _find("scipy_openblas32", "lib/libscipy_openblas.so")
    shim = _find("mlxforge", _SHIM)
    if openblas is None or shim is None:
        return None
    # The order matters: the shim's symbols are bound to the library before it.
    return openblas if _load(openblas) and _load(shim) else None


def _load(library: str) -> str | None:
    """Add a library to the process's global scope; returns its name, None on failure."""
    try:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        logger.debug("cannot load %s: %s", library, error)
        return None
    return library


def _find(package: str, file: str) -> str | None:
    """The path of a file of an installed package, which is not imported for it.

    ``mlxforge`` itself is a namespace package: in an editable install it has two
    folders, the sources and what was built.
    """
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    paths = (Path(folder, file) for folder in folders or ())
    return next((str(path) for path in paths if path.exists()), None)


def _is_installed(*distributions: str) -> bool:
    return any(next(iter(metadata.distributions(name=name)), None) for name in distributions)
