"""Sentencepiece's BPE vocabularies, which store scores, as BPE with merges."""

from __future__ import annotations

from collections.abc import Mapping


def merges_from_scores(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """The merges, best first, that give what sentencepiece gives for these scores.

    Sentencepiece joins whichever neighbours make the piece of the highest score; so each way
    to cut a piece into two others is a merge, ranked by the piece's score. Of one piece's
    cuts the longest left part comes first.
    """
    merges: list[tuple[str, str]] = []
    for piece in sorted(scores, key=scores.__getitem__, reverse=True):
        for cut in range(len(piece) - 1, 0, -1):
            left, right = piece[:cut], piece[cut:]
            if left in scores and right in scores:
                merges.append((left, right))
    return merges
