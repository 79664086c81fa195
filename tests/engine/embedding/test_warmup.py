"""Shapes that are run at load."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import pytest

from mlxforge.engine.embedding.batching import BatchPolicy
from mlxforge.engine.embedding.model import RowGroup
from mlxforge.engine.embedding.warmup import warm_up

from .running import tiny_model


def test_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    shapes = set()
    embed = model.embed

    def recorded(groups: Sequence[RowGroup], *, width: int, height: int) -> mx.array:
        shapes.add((width, height))
        return embed(groups, width=width, height=height)

    monkeypatch.setattr(model, "embed", recorded)
    warm_up(model, BatchPolicy(256, 64, free_tokens=16))
    assert shapes == {(16, 1), (16, 16), (32, 1), (32, 8), (64, 1), (64, 4), (66, 1), (66, 3)}
    shapes.clear()
    warm_up(model, BatchPolicy(256, 64, free_tokens=16, round_rows=False))
    assert shapes == {(16, 1)}
