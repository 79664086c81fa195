"""Shape and size of a model's KV memory, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import mlx.core as mx


@dataclass(frozen=True, slots=True)
class LayerLayout:
    """One layer: KV heads, and the dimensions and type of keys and values."""

    key_heads: int
    key_dim: int
    value_heads: int
    value_dim: int
    dtype: mx.Dtype

    @property
    def token_bytes(self) -> int:
        """Bytes of one position of one row."""
        width = self.key_heads * self.key_dim + self.value_heads * self.value_dim
        return int(width * self.dtype.size)

    def zeros(self, rows: int, positions: int) -> tuple[mx.array, mx.array]:
        """Empty keys and values, shape (rows, heads, positions, dim)."""
        return (
            mx.zeros((rows, self.key_heads, positions, self.key_dim), self.dtype),
            mx.zeros((rows, self.value_heads, positions, self.value_dim), self.dtype),
        )


@dataclass(frozen=True)
class KVLayout:
    """All layers."""

    layers: tuple[LayerLayout, ...]

    @cached_property
    def token_bytes(self) -> int:
        """Bytes of one position of one row, all layers."""
        return sum(layer.token_bytes for layer in self.layers)

    @classmethod
    def of(cls, keys_and_values: list[tuple[mx.array, mx.array]]) -> KVLayout:
        """The layout of what a model's layers wrote; arrays of shape (1, heads, n, dim)."""
        return cls(
            tuple(
                LayerLayout(k.shape[1], k.shape[3], v.shape[1], v.shape[3], k.dtype)
                for k, v in keys_and_values
            )
        )
