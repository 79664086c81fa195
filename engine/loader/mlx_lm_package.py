"""Makes ``mlx_lm.models`` importable without running the body of the ``mlx_lm`` package.

``import mlx_lm.models.llama`` first runs ``mlx_lm/__init__.py``, which imports the command
line tools, transformers (1.8 s measured; the model alone takes 0.02 s) and ``mlx_lm.utils``.
The latter lowers RLIMIT_NOFILE of the whole process to 4,096 for good, which no server and
no host of the C library may suffer. So the package is entered in ``sys.modules`` as a module
object whose body runs only when something asks for a name that the body defines: whoever
writes ``mlx_lm.load`` still gets it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _DeferredPackage(ModuleType):
    """A package whose body runs at the first look-up of a name it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        if name.startswith("__") or spec is None or spec.loader is None:
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]  # before the body: runs once
        with unchanged_file_limit():
            spec.loader.exec_module(self)
        return getattr(self, name)


@contextmanager
def unchanged_file_limit() -> Iterator[None]:
    """Keep ``mlx_lm.utils`` from lowering RLIMIT_NOFILE while it is imported."""
    try:
        import resource
    except ImportError:  # no such limit on this platform
        yield
        return
    setrlimit = resource.setrlimit
    resource.setrlimit = lambda *_: None
    try:
        yield
    finally:
        resource.setrlimit = setrlimit


def prepare() -> None:
    """Enter the deferred package, unless ``mlx_lm`` is imported already. Idempotent."""
    if "mlx_lm" in sys.modules:
        return
    spec = importlib.util.find_spec("mlx_lm")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("mlx-lm is not installed", name="mlx_lm")
    package = _DeferredPackage(spec.name)
    package.__spec__ = spec
    package.__path__ = list(spec.submodule_search_locations)
    package.__file__ = spec.origin
    package.__package__ = spec.name
    package.__loader__ = spec.loader
    sys.modules["mlx_lm"] = package
