"""Masks filled on a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from mlxforge.engine import masks as module
from mlxforge.engine.masks import Masks


def threads() -> set[int | None]:
    return {t.ident for t in threading.enumerate() if t.name.startswith("mlxforge-masks")}


@pytest.fixture
def masks() -> Iterator[Masks]:
    before = threads()  # of engines that other tests left
    masks = Masks(70)
    yield masks
    masks.close()
    assert threads() <= before


def test_begun_and_finished(masks: Masks) -> None:
    for rows in (3, 1):
        masks.begin([None] * rows)
        assert masks.begun
        words, failed = masks.finish()
        assert words.shape == (rows, 3) and (words == np.uint32(0xFFFFFFFF)).all()
        assert failed == ()
    with pytest.raises(RuntimeError):
        masks.finish()


def test_the_caller_goes_on_meanwhile(masks: Masks, monkeypatch: pytest.MonkeyPatch) -> None:
    going_on = threading.Event()

    def fill(states: object, out: object) -> tuple[int, ...]:
        assert going_on.wait(10)
        return (1,)

    monkeypatch.setattr(module, "fill_masks", fill)
    masks.begin([None, None])
    going_on.set()
    assert masks.finish()[1] == (1,)


def test_an_error_is_the_steps_and_the_next_step_starts_afresh(
    masks: Masks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(states: object, out: object) -> tuple[int, ...]:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(module, "fill_masks", fail)
        masks.begin([None])
        with pytest.raises(MemoryError):
            masks.finish()
        masks.begin([None])
        masks.drop()
    assert not masks.begun
    masks.begin([None])
    assert masks.finish()[1] == ()


def test_closed_while_filling(masks: Masks) -> None:
    masks.begin([None])
    masks.close()
    assert not masks.begun
