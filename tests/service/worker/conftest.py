"""Engines in worker processes, closed with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mlxforge.service.worker.config import WorkerConfig
from mlxforge.service.worker.engine import WorkerEngine

from .workers import MakeWorker, scripted


@pytest.fixture
async def worker() -> AsyncIterator[MakeWorker]:
    """Starts workers: ``await worker(word_seconds=0.1)``."""
    async with AsyncExitStack() as stack:

        async def make(settings: WorkerConfig | None = None, **how: Any) -> WorkerEngine:
            engine = scripted(settings, **how)
            stack.push_async_callback(engine.close)
            await engine.start()
            return engine

        yield make
