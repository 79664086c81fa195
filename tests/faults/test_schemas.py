"""Fault 22: more schemas than any cache should hold. ``MLXFORGE_SCHEMAS=10000`` for all."""

from __future__ import annotations

import json
import os

from mlxforge.engine.grammar import GrammarCompiler
from mlxforge.engine.request import Constraint, ConstraintKind

from .lives import Controls, _Letters

SCHEMAS = int(os.environ.get("MLXFORGE_SCHEMAS", "100"))
CACHE_BYTES = 2 * 2**20


class _Bytes(_Letters):
    """256 tokens of a byte each, and one that ends."""

    special_token_ids = frozenset({256})
    control_tokens = Controls(frozenset({256}))

    @staticmethod
    def token_bytes(token_id: int) -> bytes:
        return bytes([token_id]) if token_id < 256 else b""

    @staticmethod
    def encode(text: str, *, add_special_tokens: bool = True) -> list[int]:
        return list(text.encode())


def test_row_22_thousands_of_schemas() -> None:
    """Each with names of its own: the cache keeps within its bytes, and is used."""
    compiler = GrammarCompiler(_Bytes(), 257, {256}, cache_bytes=CACHE_BYTES)
    try:
        for number in range(SCHEMAS):
            properties = {f"field_{number}_{i}": {"type": "integer"} for i in range(4)}
            schema = {"type": "object", "properties": properties, "required": list(properties)}
            compiler.compile(Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(schema)))
            assert compiler.cached_bytes <= CACHE_BYTES
        assert compiler.cached_bytes > CACHE_BYTES // 2
    finally:
        compiler.close()
