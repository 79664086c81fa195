"""Constraints to grammars: cached by content, limited in time and size."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from llguidance import LLMatcher, LLParserLimits

from ..errors import InvalidRequest
from ..request import Constraint, ConstraintKind
from . import lark
from .cache import ByteLRU
from .matcher import Grammar
from .vocabulary import Vocabulary, VocabularySource


class GrammarCompiler:
    """Compiles constraints for one model. Call it from any thread but the MLX thread.

    ``vocab_size``: the width of the model's logits. ``cache_bytes``: what compiled grammars
    may cost in memory, estimated; the least recently used are dropped.
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
        self._cache: ByteLRU[Constraint, Grammar] = ByteLRU(cache_bytes)
        self._limits = LLParserLimits(verbose_errors=False)
        self._lock = threading.Lock()

    def compile(self, constraint: Constraint) -> Grammar:
        """The grammar of a constraint.

        Raises ``InvalidRequest`` (field ``json_schema``, ``regex``, ``grammar`` or
        ``choice.values[i]``) when it is none or cannot be enforced, ``ResourceExhausted``
        when it is too large.
        """
        grammar = self._cache.get(constraint)
        if grammar is None:
            grammar = self._compile(constraint)
            self._cache.put(constraint, grammar, grammar.cost_bytes)
        return grammar

    def close(self) -> None:
        """End what was started for compiling. May be called twice."""

    def _compile(self, constraint: Constraint) -> Grammar:
        source = self._source(constraint)
        matcher = LLMatcher(self.vocabulary.tokenizer, source, log_level=0, limits=self._limits)
        if matcher.is_error():
            raise InvalidRequest.of(constraint.kind.value, matcher.get_error()[:500])
        return Grammar(self.vocabulary, matcher, source, 4096 + 16 * len(source))

    def _source(self, constraint: Constraint) -> str:
        match constraint.kind:
            case ConstraintKind.CHOICE:
                return lark.choice(constraint.choices)
            case ConstraintKind.REGEX:
                return LLMatcher.grammar_from_regex(constraint.source)
            case ConstraintKind.GRAMMAR:
                return LLMatcher.grammar_from_lark(constraint.source)
            case ConstraintKind.JSON_OBJECT:
                return LLMatcher.grammar_from_json_schema('{"type": "object"}')
            case ConstraintKind.JSON_SCHEMA:
                return LLMatcher.grammar_from_json_schema(constraint.source)
