"""Rows of slot KV memory: written, moved, resized, read, always the right ones."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlxforge.engine.kv.layout import KVLayout, LayerLayout
from mlxforge.engine.model.shapes import PrefillShapes
from mlxforge.engine.model.slots import SlotRunner, rounded

LAYOUT = KVLayout(tuple(LayerLayout(2, 4, 2, 3, mx.float32) for _ in range(2)))


class Model:
    """Writes each token's id as its key and value and says what it then sees."""

    def __call__(self, tokens: mx.array, cache: list[Any]) -> mx.array:
        rows, count = tokens.shape
        for layer in cache:
            keys = mx.broadcast_to(tokens[:, None, :, None].astype(mx.float32), (rows, 2, count, 4))
            mask = layer.make_mask(count)
            keys, values = layer.update_and_fetch(keys, keys[..., :3])
            self.keys, self.values, self.mask = keys, values, mask
        return mx.zeros((rows, count, 5))

    def seen(self, row: int) -> list[int]:
        """What a row's attention reads in a decode step."""
        keys = np.array(self.keys)[row, 0, :, 0].astype(int)
        if isinstance(self.mask, mx.array):
            mask = np.broadcast_to(np.array(self.mask), (self.keys.shape[0], 1, 1, len(keys)))
            keys = keys[mask[row, 0, 0]]
        seen: list[int] = keys.tolist()
        return seen


@pytest.fixture
def runner() -> SlotRunner:
    runner = SlotRunner(Model(), LAYOUT)
    runner.shapes = PrefillShapes()
    return runner


def join(runner: SlotRunner, *prompts: list[int]) -> None:
    longest = max(map(len, prompts))
    prefill = runner.open(len(prompts), longest)
    runner.advance(prefill, [prompt + [0] * (longest - len(prompt)) for prompt in prompts])
    runner.reserve(runner.rows + len(prompts), 64, 0)
    runner.join(prefill, list(range(len(prompts))), [len(prompt) for prompt in prompts])


def step(runner: SlotRunner, rows: list[list[int]], token: int) -> None:
    """One decode step of rows that hold what ``rows`` says; checks what each sees."""
    tokens = [token + row for row in range(len(rows))]
    runner.decode(mx.array(tokens), [len(row) for row in rows])
    for row, (held, new) in enumerate(zip(rows, tokens, strict=True)):
        held.append(new)
        assert runner.model.seen(row) == held


def test_rows_join_move_and_leave(runner: SlotRunner) -> None:
    random = np.random.default_rng(0)
    rows: list[list[int]] = []
    for turn in range(30):
        if turn % 3 == 0:
            fresh = [random.integers(1, 99, random.integers(1, 20)).tolist() for _ in range(3)]
            join(runner, *fresh)
            rows += [list(row) for row in fresh]
        step(runner, rows, 100 * turn)
        if turn % 2 and len(rows) > 2:
            count = int(random.integers(1, len(rows)))
            stay = sorted(random.choice(len(rows), count, replace=False).tolist())
            tail = [place for place in stay if place >= count]
            order = [place if place in stay else tail.pop() for place in range(count)]
            runner.keep(order)
            rows = [rows[place] for place in order]
    assert runner.rows == len(rows)


def test_one_prefill_for_several_rows(runner: SlotRunner) -> None:
    prefill = runner.open(1, 3)
    runner.advance(prefill, [[7, 8, 9]])
    runner.reserve(3, 64, 0)
    runner.join(prefill, [0, 0, 0], [3, 3, 3])
    step(runner, [[7, 8, 9] for _ in range(3)], 50)


def test_resizing_keeps_what_runs(runner: SlotRunner) -> None:
    rows = [[1, 2, 3], [4]]
    join(runner, *rows)
    for length in (200, 64, 700):
        runner.reserve(2, length, 0)
        assert runner.slots.positions == rounded(length)
        step(runner, rows, length)
    assert runner.nbytes == 2 * rounded(700) * LAYOUT.token_bytes
    runner.keep([])
    runner.release()
    assert runner.nbytes == runner.rows == 0


def test_slack_is_held_only_within_the_limit(runner: SlotRunner) -> None:
    runner.reserve(8, 64, 0)
    both = 8 * rounded(128) * LAYOUT.token_bytes
    runner.reserve(4, 128, both - 1)
    assert runner.nbytes == runner.cost(4, 128)
    runner.reserve(8, 64, both)
    assert runner.nbytes == both
    runner.reserve(1, 64, both)  # far less is needed than is held
    assert runner.nbytes == runner.cost(1, 64)


def test_a_row_is_read_as_it_was_written(runner: SlotRunner) -> None:
    rows = [[1, 2, 3, 4, 5], [6, 7, 8]]
    join(runner, *rows)
    step(runner, rows, 30)
    keys, values = runner.read(1, 1, 4)
    assert keys.shape == (2, 2, 3, 4) and values.shape == (2, 2, 3, 3)
    assert np.array(keys)[1, 0, :, 0].tolist() == [7, 8, 31]
    assert np.array(values)[0, 1, :, 2].tolist() == [7, 8, 31]


@pytest.mark.parametrize("length", [1, 63, 64, 65, 511, 512, 513, 1000, 4097, 100_000])
def test_rounding(length: int) -> None:
    assert length <= rounded(length) <= max(length + 63, length * 5 // 4)
    assert rounded(rounded(length)) == rounded(length)
