"""Random walks through grammars: what a model without any sense would write."""

from __future__ import annotations

import random

import numpy as np

from mlxforge.engine.grammar import Grammar, GrammarState, fill_masks


def allowed(state: GrammarState) -> np.ndarray:
    """Ids of the tokens that the mask of a state allows."""
    mask = np.zeros((1, state.vocabulary.mask_words), np.uint32)
    failed = fill_masks([state], mask)
    assert not failed, state.error
    return np.flatnonzero(np.unpackbits(mask[0].view(np.uint8), bitorder="little"))


def walk(grammar: Grammar, seed: int, *, patience: int = 60, limit: int = 2000) -> bytes | None:
    """A text of random allowed tokens, ended with the end token; None when it got too long.

    After ``patience`` tokens the walk takes, of a few drawn, the token that closes most.
    """
    rng = random.Random(seed)
    vocabulary = grammar.vocabulary
    state, text = grammar.start(), b""
    for step in range(limit):
        ids = allowed(state)
        assert len(ids), "nothing is allowed"
        assert ids.max() < vocabulary.size
        ends = [i for i in ids if int(i) in vocabulary.eos_token_ids]
        assert bool(ends) == state.can_end
        if ends and (state.complete or step > patience or rng.random() < 0.3):
            state.accept(int(ends[0]))
            assert state.complete
            return text
        drawn = [int(i) for i in rng.choices(ids.tolist(), k=1 if step < patience else 12)]
        if step >= patience:
            closing = [int(i) for i in ids if vocabulary.tokens[i][:1] in (b'"', b"]", b"}", b",")]
            drawn += rng.choices(closing, k=12) if closing else []
        token = min(drawn, key=lambda i: _openness(vocabulary.tokens[i]) if step >= patience else 0)
        if token in vocabulary.eos_token_ids:
            continue
        state.accept(token)
        text += vocabulary.tokens[token]
    return None


def _openness(token: bytes) -> int:
    opened = sum(token.count(c) for c in (b"{", b"[", b","))
    closed = sum(token.count(c) for c in (b"}", b"]"))
    return 4 * (opened - closed) + len(token) - 6 * token.startswith(b'"')
