"""A worker with a scripted engine: the source says, as JSON, what it does.

Keys are those of ``fakes.Script``, and what ``Faulty`` reads.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from mlxforge.engine.loader.progress import Progress
from mlxforge.engine.output import Capability
from mlxforge.engine.request import GenerationRequest
from mlxforge.engine.stream import Put
from mlxforge.service.worker.main import main
from tests.service.fakes import FakeEngine, Script, all_errors

CAN_ALL = frozenset({Capability.GENERATE, Capability.CHAT, Capability.EMBED})


class Faulty(FakeEngine):
    """A ``FakeEngine`` that does what a prompt, or its script, says."""

    def __init__(self, source: str, config: Any, *, model_id: str, progress: Any) -> None:
        self.how: dict[str, Any] = json.loads(source)
        fields = {k: v for k, v in self.how.items() if k in Script.__dataclass_fields__}
        super().__init__(model_id, CAN_ALL, Script(**fields))
        self.progress = progress
        self.dead = False

    @property
    def healthy(self) -> bool:
        return super().healthy and not self.dead

    async def start(self, progress: Any = None) -> None:
        print("not for the server's own output")
        self.progress(Progress("weights", 10, 10))
        logging.getLogger("mlxforge.engine.fake").warning("loading, in the worker")
        self._die_at_load()
        await super().start()

    def _die_at_load(self) -> None:
        # {"deaths": FILE}: dies at load while the file holds a number above 0.
        if "deaths" in self.how:
            file = Path(self.how["deaths"])
            left = int(file.read_text())
            file.write_text(str(left - 1))
            if left > 0:
                print("no such weights", file=sys.stderr, flush=True)
                os._exit(7)

    async def run(self, request: GenerationRequest, put: Put) -> None:
        match (request.prompt or "").split():
            case ["abort"]:
                ctypes.CDLL(None).abort()
            case ["garbage"]:
                os.write(int(sys.argv[1]), b"\xff" * 64)
            case ["unhealthy"]:
                self.dead = True
            case ["stuck"]:
                self.live += 1
                try:
                    await asyncio.sleep(3600)
                finally:
                    self.live -= 1
            case ["raise", number]:
                raise all_errors()[int(number)]
            case ["environment", name]:
                request = GenerationRequest("", prompt=os.environ.get(name, "-"), max_tokens=1)
            case ["frozen"]:
                request = GenerationRequest("", prompt=str(gc.get_freeze_count()), max_tokens=1)
            case ["live"]:
                request = GenerationRequest("", prompt=str(self.live), max_tokens=1)
        await super().run(request, put)


if __name__ == "__main__":
    main(sys.argv, Faulty)
