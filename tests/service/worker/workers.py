"""Engines in worker processes of this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.errors import EngineError
from mlxforge.engine.loader.progress import ProgressCallback
from mlxforge.engine.request import GenerationRequest
from mlxforge.service.worker.config import WorkerConfig
from mlxforge.service.worker.engine import WorkerEngine

SCRIPTED = (sys.executable, str(Path(__file__).with_name("scripted.py")))

MakeWorker = Callable[..., Awaitable[WorkerEngine]]
_number = 0


def scripted(
    worker: WorkerConfig | None = None,
    *,
    model_id: str = "fake",
    config: EngineConfig | None = None,
    progress: ProgressCallback | None = None,
    changed: Callable[[EngineError | None], None] = lambda failure: None,
    **how: Any,
) -> WorkerEngine:
    """A worker with a scripted engine, not started; ``how`` as ``scripted`` reads it."""
    how.setdefault("word_seconds", 0.005)
    return WorkerEngine(
        json.dumps(how),
        config,
        model_id=model_id,
        worker=worker,
        progress=progress,
        changed=changed,
        command=SCRIPTED,
    )


def worker_processes() -> list[psutil.Process]:
    """Those that run. Other tests' engines may have left processes of other kinds."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it has gone
            if SCRIPTED[1] in child.cmdline():
                found.append(child)
    return found


def request(prompt: str = "a b c", max_tokens: int = 8, **fields: Any) -> GenerationRequest:
    """A request with an id of its own."""
    global _number
    _number += 1
    return GenerationRequest(f"r{_number}", prompt=prompt, max_tokens=max_tokens, **fields)


async def text_of(engine: Any, *args: Any, **fields: Any) -> str:
    """All text of a request."""
    return "".join([output.text async for output in engine.generate(request(*args, **fields))])
