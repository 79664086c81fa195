"""SmolLM2's vocabulary and one compiler for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlxforge.engine.grammar import GrammarCompiler
from mlxforge.engine.loader import resolve
from mlxforge.engine.loader.gguf_header import read_gguf_header
from mlxforge.engine.tokenizer import Tokenizer
from mlxforge.engine.tokenizer.gguf import tokenizer_from_gguf

# Wider than the vocabulary, as padded logits are.
WIDTH = 49_152 + 90


@pytest.fixture(scope="session")
def tokenizer() -> Iterator[Tokenizer]:
    tokenizer = tokenizer_from_gguf(read_gguf_header(resolve("smollm2-135m-instruct")).metadata)
    yield tokenizer
    tokenizer.close()


@pytest.fixture(scope="session")
def compiler(tokenizer: Tokenizer) -> Iterator[GrammarCompiler]:
    compiler = GrammarCompiler(tokenizer, WIDTH, tokenizer.eos_token_ids)
    yield compiler
    compiler.close()
