"""Stands for mlxforge.service.embedded in the tests' build of the library.

The real Python half, with scripted engines in place of models (``tests/service/fakes.py``):
``MLXFORGE_EMBEDDED_MODULE=<checkout>/tests/capi/scripted``. The model's name chooses what the
engine does: ``slow`` takes 20 ms a word, ``fail-load`` cannot be loaded.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from mlxforge.engine.errors import LoadError
from mlxforge.engine.output import Capability
from mlxforge.service.api import Api
from mlxforge.service.config import Settings
from mlxforge.service.embedded.door import serve
from mlxforge.service.embedded.host import Host
from mlxforge.service.registry import Registry

_FAKES = Path(__file__).resolve().parent.parent / "service" / "fakes.py"
_spec = importlib.util.spec_from_file_location("fakes", _FAKES)
assert _spec is not None and _spec.loader is not None
fakes = importlib.util.module_from_spec(_spec)
sys.modules["fakes"] = fakes
_spec.loader.exec_module(fakes)


async def open_api(settings: Settings) -> Api:
    """An API on a scripted engine that generates and one that embeds."""
    name = settings.model[0] if settings.model else "scripted"
    script = fakes.Script(
        word_seconds=0.02 if name == "slow" else 0.0,
        load_error=LoadError("no such model: fail-load") if name == "fail-load" else None,
    )
    registry = Registry()
    generates = frozenset({Capability.GENERATE, Capability.CHAT})
    registry.add(name, fakes.FakeEngine(name, generates, script))
    embeds = frozenset({Capability.EMBED})
    registry.add(f"{name}-embed", fakes.FakeEngine(f"{name}-embed", embeds, script))
    for entry in list(registry):
        await registry.load(entry.id)
    return Api(registry, settings.limits)


def run(*functions: object) -> None:
    """As ``mlxforge.service.embedded.run``."""
    serve(Host(*functions), open_api)  # type: ignore[arg-type]  # C gives them no types
