"""Servers that are watched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from ..fakes import FakeEngine
from .watched import Watched, watched

Watch = Callable[..., Awaitable[Watched]]


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Starts servers with metrics: ``await watch(engine, log_prompts=True)``."""
    async with AsyncExitStack() as stack:

        async def start(engine: FakeEngine | None = None, **settings: Any) -> Watched:
            return await stack.enter_async_context(watched(engine or FakeEngine(), **settings))

        yield start
