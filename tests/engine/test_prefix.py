"""The prefix cache: what is found, what is evicted, and for whom."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
import pytest

from mlxforge.engine.kv.layout import KVLayout, LayerLayout
from mlxforge.engine.kv.prefix import PrefixCache
from mlxforge.engine.kv.staging import Staging

BLOCK = 4
LAYOUT = KVLayout((LayerLayout(2, 3, 2, 5, mx.float32), LayerLayout(2, 3, 2, 5, mx.float32)))


@pytest.fixture
def cache() -> PrefixCache:
    return PrefixCache(LAYOUT, BLOCK)


def values_of(tokens: Sequence[int], dim: int) -> mx.array:
    """Keys or values that tell their positions' tokens, shape (layers, heads, n, dim)."""
    column = mx.array(list(tokens), mx.float32)[None, None, :, None]
    return mx.broadcast_to(column, (2, 2, len(tokens), dim))


def insert(cache: PrefixCache, tokens: Sequence[int], salt: str = "") -> None:
    missing = cache.missing(tokens, salt)
    part = tokens[missing.start * BLOCK : missing.stop * BLOCK]
    cache.insert(tokens, salt, values_of(part, 3), values_of(part, 5), missing.start)


def found(cache: PrefixCache, tokens: Sequence[int], salt: str = "") -> int:
    return len(cache.match(tokens, salt)) * BLOCK


def test_whole_blocks_of_the_same_tokens_are_found(cache: PrefixCache) -> None:
    tokens = list(range(10))
    insert(cache, tokens)
    assert cache.nbytes == 2 * cache.block_bytes == 2 * BLOCK * LAYOUT.token_bytes
    assert found(cache, tokens) == 8
    assert found(cache, [*tokens[:7], 99, 8, 9]) == 4
    assert found(cache, [99, *tokens[1:]]) == 0
    assert cache.missing(list(range(20)), "") == range(2, 5)


def test_the_last_token_is_never_covered(cache: PrefixCache) -> None:
    """Its logits have to be computed."""
    insert(cache, list(range(8)))
    assert found(cache, list(range(8))) == 4
    assert found(cache, list(range(9))) == 8
    assert found(cache, [0]) == 0


def test_another_salt_finds_nothing(cache: PrefixCache) -> None:
    """Fault 32, the tenant: no prompt can tell what another has sent."""
    insert(cache, list(range(9)), "a")
    assert found(cache, list(range(9)), "b") == found(cache, list(range(9))) == 0
    insert(cache, list(range(9)), "b")
    assert cache.nbytes == 4 * cache.block_bytes
    assert found(cache, list(range(9)), "a") == 8


class Colliding(int):
    """A token whose hash is that of every other."""

    def __hash__(self) -> int:
        return 7


def test_equal_hashes_are_no_hit(cache: PrefixCache) -> None:
    """Fault 32: blocks are told apart by their tokens, whatever these hash to."""
    first = [Colliding(token) for token in range(9)]
    second = [Colliding(token) for token in range(100, 109)]
    assert hash(tuple(first[:BLOCK])) == hash(tuple(second[:BLOCK]))
    insert(cache, first)
    assert found(cache, second) == 0
    insert(cache, second)
    assert found(cache, first) == found(cache, second) == 8
    for tokens in (first, second):
        for place, block in enumerate(cache.match(tokens, "")):
            want = tokens[place * BLOCK : (place + 1) * BLOCK]
            assert np.array(block.keys)[0, 0, :, 0].tolist() == want


def test_the_same_tokens_after_another_beginning_are_another_block(cache: PrefixCache) -> None:
    insert(cache, [1, 1, 1, 1, 5, 5, 5, 5])
    insert(cache, [2, 2, 2, 2, 5, 5, 5, 5])
    assert cache.nbytes == 4 * cache.block_bytes
    assert found(cache, [5, 5, 5, 5, 0]) == 0


def test_the_least_recently_used_goes_first(cache: PrefixCache) -> None:
    chains = [[i] * 9 for i in range(4)]
    for chain in chains:
        insert(cache, chain)
    assert found(cache, chains[0]) == 8  # used again: now the newest
    assert cache.evict(1) == cache.block_bytes
    assert found(cache, chains[1]) == 4, "the end of a chain goes before its beginning"
    assert cache.evict(4 * cache.block_bytes) == 4 * cache.block_bytes
    held = [found(cache, chain) for chain in chains]
    assert sum(held) == 3 * BLOCK and held[2] == 0 and held[0] == 8
    assert cache.evict(1 << 30) == 3 * cache.block_bytes
    assert cache.nbytes == 0 and cache.evict(1) == 0
    insert(cache, chains[0])
    assert found(cache, chains[0]) == 8


def test_a_block_whose_parent_was_evicted_is_not_kept(cache: PrefixCache) -> None:
    tokens = list(range(12))
    insert(cache, tokens[:8])
    missing = cache.missing(tokens, "")
    cache.evict(cache.nbytes)
    part = tokens[missing.start * BLOCK :]
    cache.insert(tokens, "", values_of(part, 3), values_of(part, 5), missing.start)
    assert cache.nbytes == 0


def test_load_begins_a_prefill(cache: PrefixCache) -> None:
    shared = [1, 2, 3, 4, 5, 6, 7, 8]
    insert(cache, shared)
    insert(cache, [9, 9, 9, 9, 8, 8, 8, 8])
    staging = Staging(LAYOUT, 2, 12)
    prompts = [[*shared, 50], [9, 9, 9, 9, 8, 8, 8, 8, 51]]
    cache.load(staging, [cache.match(prompt, "") for prompt in prompts])
    assert staging.offset == 8
    for layer in staging.layers:
        for row, prompt in enumerate(prompts):
            assert np.array(layer.keys)[row, 1, :8, 2].tolist() == prompt[:8]
            assert np.array(layer.values)[row, 0, :8, 4].tolist() == prompt[:8]


def test_only_equal_layers_make_blocks() -> None:
    assert PrefixCache.fits(LAYOUT)
    assert not PrefixCache.fits(KVLayout((*LAYOUT.layers, LayerLayout(1, 3, 1, 5, mx.float32))))


def test_counts(cache: PrefixCache) -> None:
    cache.count(100, 64)
    cache.count(50, 0)
    assert (cache.queries, cache.hits) == (150, 64)
