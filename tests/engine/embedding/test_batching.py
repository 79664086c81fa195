"""What the queue puts together."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mlxforge.engine.embedding.batching import Batch, BatchPolicy, InputQueue
from mlxforge.engine.embedding.inputs import EncodedInput

POLICY = BatchPolicy(max_tokens=256, max_rows=16, free_tokens=32, min_step=4)


def encoded(length: int) -> EncodedInput:
    return EncodedInput(np.ones(length, np.int32))


def queue_of(lengths: dict[str, list[int]], policy: BatchPolicy = POLICY) -> InputQueue[str]:
    queue: InputQueue[str] = InputQueue(policy, 128)
    for owner, sizes in lengths.items():
        for position, size in enumerate(sizes):
            queue.add(owner, position, encoded(size))
    return queue


def owners(batch: Batch[str] | None) -> list[str]:
    return [] if batch is None else [part.owner for part in batch.parts]


@pytest.mark.parametrize("step", [1, 8])
def test_widths_waste_little(step: int) -> None:
    policy = BatchPolicy(256, 16, free_tokens=32, min_step=step)
    widths = {policy.width(length) for length in range(1, 1025)}
    assert len(widths) < 70
    for length in range(1, 1025):
        width = policy.width(length)
        assert length <= width <= max(length + step - 1, length * 1.125)
        assert policy.width(width) == width


def test_heights() -> None:
    heights = [POLICY.height(rows) for rows in range(1, 20)]
    assert heights == [1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 12, 12, 16, 16, 16, 16, 24, 24, 24]
    assert BatchPolicy(1, 1, free_tokens=1, round_rows=False).height(13) == 13


def test_every_input_comes_once_within_the_limits() -> None:
    source = random.Random(3)
    for _ in range(60):
        lengths = {
            f"r{i}": [source.randint(1, 128) for _ in range(source.randint(1, 30))]
            for i in range(source.randint(1, 8))
        }
        queue = queue_of(lengths)
        seen = []
        while (batch := queue.take()) is not None:
            height = sum(len(part.inputs) for part in batch.parts)
            assert height == batch.rows <= POLICY.max_rows
            assert batch.width * height <= POLICY.max_tokens or height == 1
            padding = 1 - batch.tokens / (batch.width * height)
            assert padding <= 0.5 or batch.width * height <= POLICY.free_tokens
            for part in batch.parts:
                for position, item in zip(part.positions, part.inputs, strict=True):
                    assert item.ids.size == lengths[part.owner][position] <= batch.width
                    seen.append((part.owner, position))
        wanted = [(owner, i) for owner, sizes in lengths.items() for i in range(len(sizes))]
        assert sorted(seen) == sorted(wanted)
        assert len(queue) == queue.waiting_tokens == 0


def test_a_small_request_goes_ahead_of_a_large_one() -> None:
    queue = queue_of({"large": [100] * 200})
    for _ in range(10):
        queue.take()
    queue.add("small", 0, encoded(5))  # of another length, so it must get a batch of its own
    assert "small" in owners(queue.take()) + owners(queue.take())


def test_small_requests_do_not_starve_a_large_one() -> None:
    queue = queue_of({"large": [100] * 4})
    turns = 0
    while "large" not in owners(queue.take()):
        queue.add(f"small{turns}", 0, encoded(5))
        turns += 1
        assert turns < 3


def test_requests_share_a_batch_evenly() -> None:
    queue = queue_of({"a": [16] * 50, "b": [16] * 50, "c": [16] * 2})
    batch = queue.take()
    assert batch is not None
    counts = {part.owner: len(part.inputs) for part in batch.parts}
    assert counts["c"] == 2
    assert abs(counts["a"] - counts["b"]) <= 2
    assert batch.rows == 16


def test_lengths_apart_do_not_mix_unless_both_are_nothing() -> None:
    queue = queue_of({"long": [128], "short": [8] * 8})
    assert len(owners(queue.take())) == 1
    tiny = queue_of({"long": [16], "short": [4]})
    assert sorted(owners(tiny.take())) == ["long", "short"]  # 2 * 16 tokens are free


def test_budget_of_a_step() -> None:
    queue = queue_of({"a": [16] * 10 + [100]})
    batch = queue.take(64)
    while batch is not None:
        assert batch.width * batch.rows <= 64 or batch.rows == 1
        batch = queue.take(64)
    assert len(queue) == 0


def test_a_removed_request_leaves_nothing() -> None:
    queue = queue_of({"a": [5, 60, 60], "b": [60]})
    queue.remove("a")
    queue.remove("a")
    assert len(queue) == 1
    assert queue.waiting_tokens == 60
    assert owners(queue.take()) == ["b"]
    assert queue.take() is None
