"""Shapes of prefills: enough room, the whole prompt, and few of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxforge.engine.model.shapes import GPU_UNIT, PrefillShapes

EXACT, ROUNDED = PrefillShapes(), PrefillShapes(GPU_UNIT)


def chunks(shapes: PrefillShapes, length: int, cached: int, wanted: int) -> list[tuple[int, int]]:
    """(tokens, end) of each chunk of a prompt."""
    offset, found = shapes.resume(length, cached), []
    while (left := shapes.padded(length) - offset) > 0:
        taken = shapes.chunk(offset, left, wanted)
        assert 0 < taken <= left
        offset += taken
        found.append((taken, offset))
    return found


@given(
    unit=st.sampled_from((1, 4, 64)),
    length=st.integers(1, 20_000),
    blocks=st.integers(0, 400),
    wanted=st.integers(0, 5000),
)
def test_a_prompt_is_covered(unit: int, length: int, blocks: int, wanted: int) -> None:
    shapes = PrefillShapes(unit)
    cached = min(blocks * 64, length // 64 * 64)
    end = shapes.padded(length)
    assert length <= end <= shapes.capacity(length)
    assert 0 <= shapes.resume(length, cached) <= cached
    covered = chunks(shapes, length, cached, wanted)
    assert shapes.resume(length, cached) + sum(taken for taken, _ in covered) == end
    assert all(taken % unit == 0 for taken, _ in covered)
    assert max((taken for taken, _ in covered), default=0) < wanted + max(2, 2 * unit)
    # Filling up costs little: a quarter, or one unit.
    assert end < length * 1.25 + unit
    assert shapes.capacity(length) <= max(2 * unit, end * 1.5)


@given(length=st.integers(1, 9000), cached=st.integers(0, 9000))
def test_exact_where_shapes_cost_nothing(length: int, cached: int) -> None:
    cached = min(cached, length)
    assert EXACT.padded(length) == EXACT.capacity(length) == length
    assert EXACT.resume(length, cached) == cached and EXACT.rows(length) == length
    assert sum(taken for taken, _ in chunks(EXACT, length, cached, 256)) == length - cached


def test_what_is_recomputed_is_little() -> None:
    for cached in range(0, 4096, 64):
        for length in range(cached + 1, 4097, 7):
            known = cached - ROUNDED.resume(length, cached)
            assert known <= max(64, (ROUNDED.padded(length) - cached) / 4)


def test_an_idle_engine_meets_few_shapes() -> None:
    seen = {
        (rows, taken, end, ROUNDED.capacity(length))
        for rows in {ROUNDED.rows(count) for count in range(1, 65)}
        for length in range(1, 4097)
        for taken, end in chunks(ROUNDED, length, 0, 4096)
    }
    assert len(seen) < 200  # the number of plans that MLX keeps is 256


@pytest.mark.parametrize("wanted", [64, 200, 256, 500])
def test_beside_streams_chunks_meet_few_shapes(wanted: int) -> None:
    seen = {
        (taken, end, ROUNDED.capacity(length))
        for length in range(1, 4097)
        for taken, end in chunks(ROUNDED, length, 0, wanted)
    }
    assert len(seen) < 256


def test_nothing_is_filled_up_beyond_what_the_model_knows() -> None:
    shapes = PrefillShapes(64, 1000)
    for length in range(1, 1001):
        end = shapes.padded(length)
        assert length <= end <= 1000 <= shapes.capacity(1000)
        assert end % 64 == 0 or end == 1000
        for cached in range(0, length, 64):
            assert chunks(shapes, length, cached, 200)[-1][1] == end
    assert shapes.padded(1200) == 1200  # refused before it comes here


def test_rows_are_powers_of_two() -> None:
    assert [ROUNDED.rows(count) for count in (1, 2, 3, 4, 33, 64)] == [1, 2, 2, 4, 32, 64]
