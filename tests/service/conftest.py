"""Fixtures of the service's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from .fakes import FakeEngine
from .serving import Client, Start, serving


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers that end with the test: ``await start(engine, max_concurrent_calls=2)``."""
    async with AsyncExitStack() as stack:

        async def start_server(engine: FakeEngine | None = None, **settings: Any) -> Client:
            return await stack.enter_async_context(serving(engine or FakeEngine(), **settings))

        yield start_server
