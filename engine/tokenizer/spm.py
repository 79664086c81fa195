"""Sentencepiece's BPE vocabularies, which store scores, as BPE with merges."""

from __future__ import annotations

from collections.abc import Mapping


def merges_from_scores(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """The merges, best first, that give what sentencepiece gives for these scores.

    Sentencepiece joins whichever neighbours make the piece of the highest score; so each way
    to cut a piece into two others is a merge, ranked by the piece's score. Of one piece's
    cuts the longest left part comes first.
    """
    ranked: list[tuple[float, int, str, str]] = []
    for piece, score in scores.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in scores and right in scores:
                ranked.append((-score, -cut, left, right))
    ranked.sort()
    return [(left, right) for _, _, left, right in ranked]
