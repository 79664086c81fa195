"""A server process with a scripted engine.

``python fake_server.py '{"word_seconds": 0.1}' max_connections=3``: a script and settings.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from mlxforge.engine.errors import LoadError
from mlxforge.service.cli.serve import Lines
from mlxforge.service.config import load_settings
from mlxforge.service.registry import Registry
from mlxforge.service.server.run import run
from tests.service.fakes import FakeEngine, Script


def main() -> int:
    logging.basicConfig(level=logging.INFO)
    values = json.loads(sys.argv[1])
    if isinstance(values.get("load_error"), str):
        values["load_error"] = LoadError(values["load_error"])
    script = Script(**values)
    registry = Registry()
    registry.add("fake", FakeEngine(script=script))
    try:
        flags = {"address": ["127.0.0.1:0"]}
        settings = load_settings(flags, sys.argv[2:], environ={})
        asyncio.run(run(settings, registry, Lines()))
    except LoadError as error:
        print(error, file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
