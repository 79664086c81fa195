"""Random schemas: what is generated conforms, and what conforms can be generated."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from mlxforge.engine.grammar.json_schema import Refused, TooComplex, compile_schema

from .suite import admits, spellings

KEYS = ("a", "b", "c", "ab")
TYPES: tuple[Any, ...] = (
    "string", "integer", "number", "boolean", "null", "array", "object", ["string", "null"],
    ["integer", "array"], ["object", "string"],
)  # fmt: skip
PATTERNS = ("^a", "b$", "a", "^[ab]*$", "^x?$", "^(a|b)c?$")
SCALARS = (None, True, False, 0, 1, 2, 3, -1, 0.5, 1.5, 10, "", "a", "b", "ab", "abc", "x")


class Maker:
    """Makes random values and schemas."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        kind = self.rng.random()
        if kind < 0.6 or depth > 1:
            return self.rng.choice(SCALARS)
        if kind < 0.8:
            return [self.value(depth + 1) for _ in range(self.rng.randint(0, 3))]
        return {key: self.value(depth + 1) for key in self._keys(0, 3)}

    def schema(self, depth: int = 0) -> Any:
        if depth > 3 or self.rng.random() < 0.06:
            return self.rng.choice((True, False, {}, {"type": "string"}, {"type": "integer"}))
        schema: dict[str, Any] = {}
        if self.rng.random() < 0.45:
            schema["type"] = self.rng.choice(TYPES)
        for _ in range(self.rng.randint(1, 3)):
            schema |= self._keyword(depth + 1)
        return schema

    def document(self) -> dict[str, Any]:
        top = self.schema()
        body = top if isinstance(top, dict) else {"not": not top}
        return {"$defs": {"p": self.schema(2), "q": self.schema(2)}, **body}

    def _keys(self, low: int, high: int) -> list[str]:
        return self.rng.sample(KEYS, self.rng.randint(low, high))

    def _keyword(self, depth: int) -> dict[str, Any]:
        rng = self.rng

        def inner() -> Any:
            return self.schema(depth)

        def several() -> list[Any]:
            return [inner() for _ in range(rng.randint(1, 3))]

        options: list[Callable[[], dict[str, Any]]] = [
            lambda: {"enum": [self.value() for _ in range(3)]},
            lambda: {"const": self.value()},
            lambda: {rng.choice(("minimum", "exclusiveMinimum")): rng.choice((0, 1, -2, 0.5))},
            lambda: {rng.choice(("maximum", "exclusiveMaximum")): rng.choice((3, 5, 0, 2.5))},
            lambda: {"multipleOf": rng.choice((1, 2, 0.5, 3))},
            lambda: {rng.choice(("minLength", "maxLength")): rng.randint(0, 3)},
            lambda: {"pattern": rng.choice(PATTERNS)},
            lambda: {"properties": {key: inner() for key in self._keys(1, 3)}},
            lambda: {"patternProperties": {rng.choice(("^a", "b", "c$")): inner()}},
            lambda: {"additionalProperties": inner()},
            lambda: {"required": self._keys(1, 2)},
            lambda: {rng.choice(("minProperties", "maxProperties")): rng.randint(0, 2)},
            lambda: {"propertyNames": inner()},
            lambda: {"dependentRequired": {rng.choice(KEYS): self._keys(1, 2)}},
            lambda: {"dependentSchemas": {rng.choice(KEYS): inner()}},
            lambda: {"items": inner()},
            lambda: {"prefixItems": several()},
            lambda: {"contains": inner(), "minContains": rng.randint(0, 2)},
            lambda: {"contains": inner(), "maxContains": rng.randint(1, 2)},
            lambda: {rng.choice(("minItems", "maxItems")): rng.randint(0, 3)},
            lambda: {"unevaluatedProperties": inner()},
            lambda: {"unevaluatedItems": inner()},
            lambda: {rng.choice(("allOf", "anyOf", "oneOf")): several()},
            lambda: {"not": inner()},
            lambda: {"if": inner(), "then": inner(), "else": inner()},
            lambda: {"$ref": rng.choice(("#/$defs/p", "#/$defs/q"))},
        ]
        return rng.choice(options)()

    def walk(self, matcher: LLMatcher) -> bytes | None:
        """Random bytes that a matcher allows, up to where it may end; None: too long."""
        text = bytearray()
        for step in range(120):
            mask = np.frombuffer(matcher.compute_bitmask(), np.uint8)
            allowed = np.flatnonzero(np.unpackbits(mask, bitorder="little")).tolist()
            assert not matcher.is_error(), matcher.get_error()
            content = [byte for byte in allowed if byte < 256]
            assert allowed, f"a dead end after {bytes(text)!r}"
            if len(content) < len(allowed) and (not content or self.rng.random() < 0.4):
                return bytes(text)
            wanted = b'"}]' if step > 60 else b'"abcx}],:0123.-{[tfn'
            byte = self.rng.choice([b for b in content if b in wanted] or content)
            assert matcher.consume_token(byte)
            text.append(byte)
        return None


def conforms(validator: Any, value: Any) -> bool | None:
    """None where the validator recurses without end."""
    try:
        return bool(validator.is_valid(value))
    except RecursionError:
        return None


@pytest.mark.parametrize("seed", range(12))
def test_random_schemas(seed: int) -> None:
    maker, tokenizer = Maker(seed), LLTokenizer("byte")
    compiled = 0
    for _ in range(40):
        schema = maker.document()
        validator = Draft202012Validator(schema)
        values = [maker.value() for _ in range(6)]
        try:
            source = compile_schema(json.dumps(schema))
        except Refused as refusal:
            if refusal.reason.startswith("no value"):
                assert not any(conforms(validator, value) for value in values), schema
            continue
        except TooComplex:
            continue
        compiled += 1
        limits = LLParserLimits(verbose_errors=False)
        matcher = LLMatcher(tokenizer, source, log_level=0, limits=limits)
        assert not matcher.is_error(), schema
        for _ in range(3):
            text = maker.walk(matcher.deep_copy())
            # Beyond 15 digits a double, which the validator reads, is another number.
            if text is not None and len(text) < 60:
                assert conforms(validator, json.loads(text)) is not False, (text, schema)
        for value in values:
            texts = itertools.islice(spellings(value), 24)
            admitted = any(admits(matcher, spelled.encode()) for spelled in texts)
            assert conforms(validator, value) in (admitted, None), (value, schema)
    assert compiled > 20
