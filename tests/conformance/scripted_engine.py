"""Models that fail on purpose, behind both real doors: what a sound engine never shows.

In-process, ``MLXFORGE_EMBEDDED_MODULE`` names this file to the tests' build of libmlxforge;
over gRPC, ``python scripted_engine.py ADDRESS`` serves until killed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlxforge.engine.errors import (
    Cancelled,
    EngineError,
    LoadError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from mlxforge.engine.output import (
    Capability,
    Finish,
    FinishReason,
    RequestOutput,
    Timings,
    ToolCallDelta,
    Usage,
)
from mlxforge.engine.request import GenerationRequest
from mlxforge.engine.stream import Put
from mlxforge.service.api import Api
from mlxforge.service.config import Settings
from mlxforge.service.embedded.door import serve
from mlxforge.service.embedded.host import Host
from mlxforge.service.registry import Registry
from mlxforge.service.security import AuthSettings
from mlxforge.service.server import Server

if TYPE_CHECKING:
    from tests.service import fakes
else:
    # By path, because the C library loads this file alone.
    _FAKES = Path(__file__).resolve().parent.parent / "service" / "fakes.py"
    _spec = importlib.util.spec_from_file_location("conformance_fakes", _FAKES)
    assert _spec is not None and _spec.loader is not None
    fakes = importlib.util.module_from_spec(_spec)
    sys.modules["conformance_fakes"] = fakes
    _spec.loader.exec_module(fakes)

GENERATES = frozenset({Capability.GENERATE, Capability.CHAT})
EMBEDS = frozenset({Capability.EMBED})

FULL = ResourceExhausted("the queue is full", reason="QUEUE_FULL", retry_after=0.25)
NEVER_FITS = ResourceExhausted("never fits", reason="NO_MEMORY", retry_after=None)
RESTARTING = Unavailable("the worker restarts", reason="WORKER_RESTARTING", retry_after=0.5)
FORBIDDEN = PermissionDenied("alice may not", reason="MODEL_NOT_ALLOWED")

SCRIPTS = {
    "words": fakes.Script(),
    "slow": fakes.Script(word_seconds=0.02),
    "steady": fakes.Script(word_seconds=0.25),
    "fails-at-once": fakes.Script(fail_at_word=0),
    "fails-midway": fakes.Script(fail_at_word=3),
    "full": fakes.Script(fail_at_word=0, fail_with=FULL),
    "never-fits": fakes.Script(fail_at_word=0, fail_with=NEVER_FITS),
    "restarting": fakes.Script(fail_at_word=0, fail_with=RESTARTING),
    "restarts-midway": fakes.Script(fail_at_word=3, fail_with=RESTARTING),
    "cannot": fakes.Script(fail_at_word=0, fail_with=Unsupported("cannot", reason="CANNOT")),
    "forbidden": fakes.Script(fail_at_word=0, fail_with=FORBIDDEN),
    "stranger": fakes.Script(fail_at_word=0, fail_with=Unauthenticated("who are you?")),
    "aborted": fakes.Script(fail_at_word=2, fail_with=Cancelled("aborted by its host")),
    "broken": fakes.Script(load_error=LoadError("its weights are damaged")),
}


class CallsTools(fakes.FakeEngine):
    """Thinks, speaks, then calls two tools, their arguments in pieces."""

    async def run(self, request: GenerationRequest, put: Put) -> None:
        """The same for every request."""
        name = request.request_id
        put(RequestOutput(name, 0, reasoning="Two calls ", token_ids=(1,)))
        put(RequestOutput(name, 0, reasoning="are needed.", token_ids=(2,)))
        put(RequestOutput(name, 0, text="Let me see. ", token_ids=(3,)))
        first, second = "call_aaaaaaaaaaaaaaaaaaaaaaaa", "call_bbbbbbbbbbbbbbbbbbbbbbbb"
        pieces = (
            ToolCallDelta(0, first, "weather", '{"city":'),
            ToolCallDelta(0, arguments='"Zürich 🏔"}'),
            ToolCallDelta(1, second, "time", "{}"),
        )
        for i, piece in enumerate(pieces):
            put(RequestOutput(name, 0, tool_calls=(piece,), token_ids=(4 + i,)))
        usage = Usage(prompt_tokens=9, completion_tokens=6, reasoning_tokens=2)
        timings = Timings(0.0, 0.001, 0.002)
        put(RequestOutput(name, 0, finish=Finish(FinishReason.TOOL_CALLS, usage, timings)))


async def open_api(settings: Settings) -> Api:
    """An API on all models. ``asleep`` is never loaded."""
    registry = Registry()
    for name, script in SCRIPTS.items():
        registry.add(name, fakes.FakeEngine(name, GENERATES, script))
    tools = GENERATES | {Capability.TOOLS, Capability.REASONING}
    registry.add("calls-tools", CallsTools("calls-tools", tools))
    registry.add("vectors", fakes.FakeEngine("vectors", EMBEDS, fakes.Script()))
    for entry in list(registry):
        try:
            await registry.load(entry.id)
        except EngineError:
            continue  # the registry has it as FAILED
    registry.add("asleep", fakes.FakeEngine("asleep", GENERATES, fakes.Script()))
    return Api(registry, settings.limits)


def run(*functions: object) -> None:
    """As ``mlxforge.service.embedded.run``."""
    serve(Host(*functions), open_api)  # type: ignore[arg-type]  # C gives them no types


async def serve_grpc(address: str, *options: str) -> None:
    """Serve over gRPC until killed; ``--guarded``: to who has a token."""
    logging.disable()  # what fails here does so on purpose
    tokens = ("nobody:0123456789abcdef",) if "--guarded" in options else ()
    settings = Settings(address=(address,), auth=AuthSettings(tokens=tokens))
    server = Server(await open_api(settings), settings)
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_grpc(*sys.argv[1:]))
