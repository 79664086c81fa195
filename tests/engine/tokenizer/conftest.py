"""The tokenizer of SmolLM2, from its GGUF file's metadata."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mlxforge.engine.loader import resolve
from mlxforge.engine.loader.gguf_header import read_gguf_header
from mlxforge.engine.tokenizer import Tokenizer
from mlxforge.engine.tokenizer.gguf import tokenizer_from_gguf


@pytest.fixture(scope="session")
def metadata() -> dict[str, Any]:
    return read_gguf_header(resolve("smollm2-135m-instruct")).metadata


@pytest.fixture(scope="session")
def tokenizer(metadata: dict[str, Any]) -> Iterator[Tokenizer]:
    tokenizer = tokenizer_from_gguf(metadata)
    yield tokenizer
    tokenizer.close()


TEXTS = (
    "",
    " ",
    "Hello, world!",
    "  leading and trailing  ",
    "tabs\tand\r\nlines\n\n\nend",
    "numbers 0 12 3456 7.89e-10",
    "it's they'LL we've I'd",
    "Grüße aus Köln, ça va? Ελληνικά, русский, עברית, العربية",
    "日本語のテキストと中文字符、한국어",
    "emoji 😀👩‍👩‍👧‍👦🏳️‍🌈 and ZWJ\u200d",
    "combining e\u0301 and precomposed \u00e9",
    "math ∑∫√ and \U0001d518\U0001d52b\U0001d526",
    "control \x00\x01\x1b[0m and private \ue000\uf8ff",
    "def f(x):\n    return {k: v for k, v in x.items()}  # comment",
    "<html><body>&amp;</body></html>",
    "a" * 2000,
    "nothing printable \u00a0\u2028\u2029\ufeff\ufffd",
)


@pytest.fixture(params=TEXTS, ids=range(len(TEXTS)))
def text(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value
