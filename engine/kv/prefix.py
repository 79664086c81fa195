"""Shared prompt prefixes: KV blocks that later prompts start from instead of recomputing.

A block holds the keys and values of ``block`` consecutive tokens for all layers and is
found by its parent and its exact tokens, so a hit is never a matter of hashing luck.
Chains start at a root per salt: no tenant can hit another's blocks. Eviction is true LRU:
using a chain touches its blocks from the last to the first, so the oldest block never has
children.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import mlx.core as mx

from .layout import KVLayout
from .staging import Staging

# A block's parent (the salt, for a first block) and its tokens.
BlockKey: TypeAlias = tuple[int | str, tuple[int, ...]]


@dataclass(slots=True, eq=False)
class Block:
    """Keys and values of one block, shape (layers, heads, block, head_dim)."""

    id: int
    key: BlockKey
    keys: mx.array
    values: mx.array


class PrefixCache:
    """Blocks by (parent, tokens), least recently used first."""

    def __init__(self, layout: KVLayout, block: int) -> None:
        self.block = block
        self.block_bytes = layout.token_bytes * block
        self._blocks: OrderedDict[BlockKey, Block] = OrderedDict()
        self._ids = 0
        self.queries = 0
        self.hits = 0

    @staticmethod
    def fits(layout: KVLayout) -> bool:
        """Whether all layers have one shape, so that a block is two arrays."""
        return len(set(layout.layers)) == 1

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return len(self._blocks) * self.block_bytes

    def match(self, tokens: Sequence[int], salt: str) -> list[Block]:
        """The longest chain of blocks that ``tokens`` start with, and touch it.

        The last token is never covered: its logits have to be computed.
        """
        chain = self._chain(tokens, salt, (len(tokens) - 1) // self.block)
        for block in reversed(chain):
            self._blocks.move_to_end(block.key)
        return chain

    def count(self, tokens: int, cached: int) -> None:
        """Book a prompt of ``tokens`` of which ``cached`` were found."""
        self.queries += tokens
        self.hits += cached

    def _chain(self, tokens: Sequence[int], salt: str, limit: int) -> list[Block]:
        parent: int | str = salt
        chain: list[Block] = []
        while len(chain) < limit:
            start = len(chain) * self.block
            block = self._blocks.get((parent, tuple(tokens[start : start + self.block])))
            if block is None:
                break
            chain.append(block)
            parent = block.id
        return chain

    def missing(self, tokens: Sequence[int], salt: str) -> range:
        """Numbers of the whole blocks of ``tokens`` that are not held."""
        whole = len(tokens) // self.block
        return range(len(self._chain(tokens, salt, whole)), whole)

    def insert(
        self, tokens: Sequence[int], salt: str, keys: mx.array, values: mx.array, first: int
    ) -> None:
        """Hold the blocks of ``tokens`` from number ``first`` on.

        ``keys`` and ``values`` have shape (layers, heads, n, head_dim) and begin at block
        ``first``. The caller has made room.
        """
        chain = self._chain(tokens, salt, first)
        if len(chain) < first:
            return  # an ancestor was evicted meanwhile
        parent = chain[-1].id if chain else salt
        fresh: list[Block] = []
        for number in range(first, first + keys.shape[2] // self.block):
            key = (parent, tuple(tokens[number * self.block : (number + 1) * self.block]))
            block = self._blocks.get(key)
            if block is None:
                at = (number - first) * self.block
                block = Block(
                    self._next_id(),
                    key,
                    mx.contiguous(keys[:, :, at : at + self.block]),
                    mx.contiguous(values[:, :, at : at + self.block]),
                )
                self._blocks[key] = block
                fresh.append(block)
            chain.append(block)
            parent = block.id
        for block in reversed(chain):
            self._blocks.move_to_end(block.key)
        mx.async_eval([array for block in fresh for array in (block.keys, block.values)])

    def evict(self, size: int) -> int:
        """Drop the least recently used blocks until ``size`` bytes are free; bytes freed."""
        freed = 0
        while freed < size and self._blocks:
            self._blocks.popitem(last=False)
            freed += self.block_bytes
        return freed

    def load(self, staging: Staging, chains: Sequence[Sequence[Block]]) -> None:
        """Start every row of ``staging`` from its chain; all chains have one length."""
        length = len(chains[0]) * self.block
        if not length:
            return
        keys = mx.stack([mx.concatenate([b.keys for b in c], axis=2) for c in chains])
        values = mx.stack([mx.concatenate([b.values for b in c], axis=2) for c in chains])
        for number, layer in enumerate(staging.layers):
            layer.keys[:, :, :length] = keys[:, number]
            layer.values[:, :, :length] = values[:, number]
        staging.offset = length

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids
