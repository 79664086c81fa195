"""Whatever is sampled through the masks of a schema conforms to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxforge.engine.grammar import GrammarCompiler
from mlxforge.engine.request import Constraint, ConstraintKind

from . import schemas
from .walk import walk


def test_there_are_fifty_schemas() -> None:
    assert len(schemas.PATHS) == 50


@pytest.mark.parametrize("path", schemas.PATHS, ids=lambda path: path.stem)
def test_random_walks_conform(compiler: GrammarCompiler, path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    grammar = compiler.compile(Constraint(ConstraintKind.JSON_SCHEMA, source))
    texts = [walk(grammar, seed) for seed in range(3)]
    finished = [text for text in texts if text is not None]
    assert len(finished) >= 2
    for text in finished:
        schemas.validate(source, text.decode("utf-8"))
