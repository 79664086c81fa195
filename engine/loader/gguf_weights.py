"""The tensors of GGUF files, as MLX arrays.

They are read with numpy from a checked directory of tensors, so that no native parser ever
sees the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from .gguf_config import ROPE_FACTORS
from .gguf_header import GgufHeader, GgufTensor
from .progress import Reporter

GROUP_SIZE = 32
"""Values that share a scale, in MLX as in ggml's Q4_0, Q4_1 and Q8_0."""
_PACKED_BITS = {"Q4_0": 4, "Q4_1": 4, "Q8_0": 8}


def read_tensors(
    path: Path,
    header: GgufHeader,
    dtype: mx.Dtype,
    *,
    packed: bool,
    report: Reporter,
) -> Iterator[tuple[GgufTensor, dict[str, mx.array]]]:
    """Each tensor's arrays by suffix: ``weight``, and when packed ``scales`` and ``biases``.

    ``packed``: the types that MLX's kernels know stay quantized, with scales of type
    ``dtype``; all others become dense arrays of it.
    """
    data = np.memmap(path, mode="r")
    total = sum(tensor.size for tensor in header.tensors.values())
    done = 0
    for tensor in header.tensors.values():
        raw = data[tensor.offset : tensor.offset + tensor.size]
        if packed and tensor.type.name in _PACKED_BITS:
            arrays = _packed(tensor, raw, dtype)
        else:
            exact = tensor.name == ROPE_FACTORS
            arrays = {
                "weight": mx.array(_dense(tensor, raw)).astype(mx.float32 if exact else dtype)
            }
        mx.eval(arrays)
        yield tensor, arrays
        done += tensor.size
        report("weights", done, total)


def _dense(tensor: GgufTensor, raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    if tensor.type.name == "F32":
        return raw.view(np.float32).reshape(tensor.shape)
    # Imported here: files of the plain types load without it, 0.1 s sooner.
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    rows = raw.reshape(*tensor.shape[:-1], -1)
    values: NDArray[np.float32] = dequantize(rows, GGMLQuantizationType[tensor.type.name])
    return values.reshape(tensor.shape)


def _packed(tensor: GgufTensor, raw: NDArray[np.uint8], dtype: mx.Dtype) -> dict[str, mx.array]:
    """ggml's blocks as MLX's triplet; a value is ``scale * q + bias`` in both."""
    kind = tensor.type.name
    blocks = raw.reshape(-1, tensor.type.size)
    scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    if kind == "Q8_0":
        # int8 around 0 -> uint8 around 128.
        words, biases = blocks[:, 2:] ^ np.uint8(0x80), -128 * scales
    elif kind == "Q4_0":
        words, biases = _nibbles_in_order(blocks[:, 2:]), -8 * scales
    else:
        words = _nibbles_in_order(blocks[:, 4:])
        biases = blocks[:, 2:4].copy().view(np.float16).astype(np.float32)
    rows = tensor.shape[:-1]
    packed = np.ascontiguousarray(words).view(np.uint32).reshape(*rows, -1)
    return {
        "weight": mx.array(packed),
        "scales": mx.array(scales.reshape(*rows, -1)).astype(dtype),
        "biases": mx.array(biases.reshape(*rows, -1)).astype(dtype),
    }


def _nibbles_in_order(halves: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ggml keeps values i and i + 16 of a block in one byte; MLX values 2i and 2i + 1."""
    values = np.concatenate((halves & 0x0F, halves >> 4), axis=1)
    pairs: NDArray[np.uint8] = values[:, 0::2] | values[:, 1::2] << 4
    return pairs
