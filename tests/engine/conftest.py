"""A tiny model, and an engine that serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mlxforge.engine.engine import Engine

from .loader.folders import write_folder
from .serving import CONFIG


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with a byte tokenizer; answers run to their token limit, mostly."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_folder(folder, max_position_embeddings=512)
    return folder


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[Engine]:
    engine = Engine(str(folder), CONFIG)
    await engine.start()
    yield engine
    await engine.close()
