"""From token vectors to one vector for each text.

All three poolings are the mean over a span of the text's tokens: all of them, the first, or
the last. So each row of a batch carries its span, and rows of requests with different settings
share one batch and one set of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from ..errors import LoadError
from ..request import Pooling
from .layers import gelu
from .settings import DenseSettings

# torch.nn.functional.normalize's epsilon, so that a zero vector stays zero.
_MIN_NORM = 1e-12


def pooling_spans(
    pooling: Pooling, lengths: NDArray[np.int32], prompt_length: int = 0
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First and past-the-last token, (N,) each, that ``pooling`` takes of texts of ``lengths``.

    ``prompt_length`` tokens at the start are left out of the mean (INSTRUCTOR's convention);
    a text that is all prompt is pooled whole.
    """
    zeros = np.zeros_like(lengths)
    if pooling is Pooling.CLS:
        return zeros, zeros + 1
    if pooling is Pooling.LAST:
        return lengths - 1, lengths
    return np.where(lengths > prompt_length, prompt_length, 0).astype(np.int32), lengths


def pool(hidden: mx.array, spans: mx.array) -> mx.array:
    """Means (B, D), f32, of token vectors (B, L, D) over spans (B, 2).

    A plain sum, not a matrix product: those round f32 to TF32 on CUDA.
    """
    at = mx.arange(hidden.shape[1])[None]
    inside = (at >= spans[:, :1]) & (at < spans[:, 1:])
    total = mx.where(inside[..., None], hidden, 0).astype(mx.float32).sum(axis=1)
    return total / (spans[:, 1:] - spans[:, :1]).astype(mx.float32)


def finish(vectors: mx.array, dimensions: mx.array, normalize: mx.array) -> mx.array:
    """Scale vectors (B, D) by the norm of their leading ``dimensions`` (B,) where asked (B,).

    Cutting to the dimensions is left to the reader: rows may differ.
    """
    kept = mx.arange(vectors.shape[1])[None] < dimensions[:, None]
    norms = mx.sqrt(mx.where(kept, vectors * vectors, 0).sum(axis=1, keepdims=True))
    return vectors / mx.where(normalize[:, None], mx.maximum(norms, _MIN_NORM), 1)


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear stage after pooling: weight (out, in), bias (out,) or None, f32."""

    weight: mx.array
    bias: mx.array | None
    activation: Callable[[mx.array], mx.array]

    def __call__(self, vectors: mx.array) -> mx.array:
        """Vectors (B, in) to (B, out)."""
        out = vectors @ self.weight.T
        return self.activation(out if self.bias is None else out + self.bias)


_DENSE_ACTIVATIONS: Mapping[str, Callable[[mx.array], mx.array]] = {
    "Identity": lambda x: x,
    "Tanh": mx.tanh,
    "GELU": gelu,
    "ReLU": lambda x: mx.maximum(x, 0),
}


def load_dense(stages: Sequence[DenseSettings], width: int) -> list[Dense]:
    """The dense stages, for pooled vectors of ``width``. Raises ``LoadError``."""
    loaded: list[Dense] = []
    for stage in stages:
        path = stage.folder / "model.safetensors"
        activation = _DENSE_ACTIVATIONS.get(stage.activation)
        if activation is None:
            raise LoadError(f"{stage.folder}: activation {stage.activation!r} is not supported")
        if not path.is_file():
            raise LoadError(f"{path} is missing (pytorch_model.bin is not read: it is a pickle)")
        weights = mx.load(str(path))
        if not isinstance(weights, dict):
            raise LoadError(f"{path} holds no named arrays")
        weight, bias = weights.get("linear.weight"), weights.get("linear.bias")
        if weight is None or weight.ndim != 2 or weight.shape[1] != width:
            raise LoadError(f"{path} does not fit vectors of {width} values")
        width = weight.shape[0]
        if bias is not None and bias.shape != (width,):
            raise LoadError(f"{path}: the bias does not fit the weight")
        bias = None if bias is None else bias.astype(mx.float32)
        loaded.append(Dense(weight.astype(mx.float32), bias, activation))
    return loaded
