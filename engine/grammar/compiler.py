"""Constraints to grammars: cached by content, limited in time and size."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from mlxforge.engine.request import Constraint

from .cache import ByteLRU
from .helper import CompileHelper
from .matcher import Grammar
from .template import GrammarTemplate
from .vocabulary import Vocabulary, VocabularySource


class GrammarCompiler:
    """Compiles constraints for one model. Call it from any thread but the MLX thread.

    ``vocab_size``: the width of the model's logits. ``cache_bytes``: what compiled grammars
    may cost in memory, estimated; the least recently used are dropped.

    A helper process compiles first, with limits on time and memory; only what passed there
    is compiled in this process. ``close`` ends it.
    """

    def __init__(
        self,
        tokenizer: VocabularySource,
        vocab_size: int,
        eos_token_ids: Iterable[int],
        *,
        cache_bytes: int = 64 * 2**20,
    ) -> None:
        self.vocabulary = Vocabulary(tokenizer, vocab_size, eos_token_ids)
        self.helper = CompileHelper(self.vocabulary)
        self._cache: ByteLRU[Constraint | GrammarTemplate, Grammar] = ByteLRU(cache_bytes)
        self._pending: dict[Constraint | GrammarTemplate, threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def cached_bytes(self) -> int:
        """What the cached grammars cost, estimated."""
        return self._cache.used

    def compile(
        self, constraint: Constraint | GrammarTemplate, special_token_ids: Iterable[int] = ()
    ) -> Grammar:
        """The grammar of a constraint.

        ``special_token_ids``: those that the grammar itself may place (the marks of a
        model's tool calls). Raises ``InvalidRequest`` (field ``json_schema``, ``regex``,
        ``grammar``, ``choice.values`` or a template's own) when it is none or cannot be enforced,
        ``ResourceExhausted`` when it is too large.
        """
        with self._lock:
            turn = self._pending.setdefault(constraint, threading.Lock())
        try:
            with turn:  # equal constraints at once are compiled once
                grammar = self._cache.get(constraint)
                if grammar is None:
                    grammar = self._compile(constraint, special_token_ids)
                    self._cache.put(constraint, grammar, grammar.cost_bytes)
        finally:
            with self._lock:
                self._pending.pop(constraint, None)
        return grammar

    def close(self) -> None:
        """End the helper process. May be called twice."""
        self.helper.close()

    def _compile(
        self, constraint: Constraint | GrammarTemplate, special_token_ids: Iterable[int]
    ) -> Grammar:
        return Grammar(self.vocabulary, self.helper.check(constraint), special_token_ids)
