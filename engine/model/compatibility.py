"""Which of mlx-lm's architectures can run ragged rows, and what one needs for it.

A row of a batch is right when the model places it by its cache's offsets and masks it by its
cache's mask. These do something else; the golden tests (tests/engine/test_architectures.py)
show that all others of the pinned mlx-lm do not.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from ..errors import Unsupported

_REFUSED = {
    "afm7": "its layers that reuse keys take one position for all rows",
    "gpt_bigcode": "it takes one position for all rows",
    "longcat_flash_ngram": "its n-gram state has another length in every row",
    "minimax_m3_vl": "its sparse attention cuts blocks over padded positions",
    "phi3small": "its block-sparse attention adds the mask to the scores",
}


def prepare(model: Any, architecture: str) -> None:
    """Make ``model`` fit for ragged rows. Raises ``Unsupported`` where it cannot be."""
    for name in _modules(model):
        if name in _REFUSED:
            raise Unsupported(
                f"the architecture {architecture} cannot be batched: {_REFUSED[name]}",
                reason="ARCHITECTURE_NOT_BATCHABLE",
            )
        if name == "gemma2":
            _widen_masks(model)


def _modules(model: Any) -> set[str]:
    """Modules of mlx-lm that the model's parts come from: a wrapper's inner model counts."""
    return {type(part).__module__.rpartition(".")[2] for part in model.modules()}


def _widen_masks(model: Any) -> None:
    """Gemma 2's scores have one axis more than the masks of a batch."""
    from mlx_lm.models.gemma2 import Attention

    class RaggedAttention(Attention):
        def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
            if isinstance(mask, mx.array) and mask.ndim == 4 and self.repeats > 1:
                mask = mask[:, :, None]
            attended: mx.array = super().__call__(x, mask, cache)
            return attended

    for part in model.modules():
        if type(part) is Attention:
            part.__class__ = RaggedAttention
