"""Random keys that depend on a request's seed and the token's position, on nothing else.

splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014)
turns seed and position into the 64-bit key of a counter-based generator, so a row draws
the same noise alone, in a batch, and after it was put back and recomputed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))


def keys(seeds: Sequence[int], positions: Sequence[int]) -> NDArray[np.uint32]:
    """One key per row, shape (rows, 2), from 64-bit seeds and token positions."""
    with np.errstate(over="ignore"):
        seed = _mix(np.array(seeds, np.uint64) + _GAMMA)
        state = _mix(seed + _GAMMA * np.array(positions, np.uint64))
    return state.view(np.uint32).reshape(-1, 2)
