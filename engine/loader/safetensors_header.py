"""Safetensors headers, checked before a native parser sees the file.

Format: https://github.com/huggingface/safetensors#format. Names are unique, types known,
and the tensors cover the data exactly: no gap, no overlap, nothing past the end.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ..errors import LoadError

MAX_HEADER = 100_000_000
"""Bytes; the limit of the reference implementation."""
MAX_TENSORS = 1_000_000
MAX_DIMENSIONS = 8

_ITEM_SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip


def check_safetensors(path: Path) -> None:
    """Raises ``LoadError`` when the file is not sound."""
    try:
        _check(path)
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(f"{path.name}: not a sound safetensors file: {error}") from error


def _check(path: Path) -> None:
    file_size = path.stat().st_size
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= min(MAX_HEADER, file_size - 8):
            raise ValueError(f"its header would have {size} bytes")
        header = json.loads(file.read(size), object_pairs_hook=_unique)
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise ValueError("its header is no object, or too large")
    metadata = header.pop("__metadata__", None) or {}  # MLX writes null for none
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata is damaged")
    end = 0
    for start, stop in sorted(_span(name, entry) for name, entry in header.items()):
        if start != end:
            raise ValueError(f"its tensors overlap or leave a gap at byte {min(start, end)}")
        end = stop
    if end != file_size - 8 - size:
        raise ValueError(f"its tensors end at byte {end} of {file_size - 8 - size}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name occurs twice in its header")
    return value


def _span(name: str, entry: Any) -> tuple[int, int]:
    """First byte and end of one tensor, held against its type and shape."""
    if not isinstance(entry, dict):
        raise ValueError(f"tensor {name[:100]!r} has no description")
    item_size = _ITEM_SIZES.get(str(entry.get("dtype")))
    if item_size is None:
        raise ValueError(f"tensor {name[:100]!r} has the unknown type {entry.get('dtype')!r:.40}")
    shape, offsets = _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2:
        raise ValueError(f"tensor {name[:100]!r} has no usable shape or offsets")
    if len(shape) > MAX_DIMENSIONS or any(size >= 1 << 31 for size in shape):
        raise ValueError(f"tensor {name[:100]!r} has an unusable shape")
    start, stop = offsets
    if stop - start != math.prod(shape) * item_size:
        raise ValueError(f"tensor {name[:100]!r} does not fill its bytes")
    return start, stop


def _sizes(value: Any) -> list[int] | None:
    """A list of whole numbers of 0 or more; None when it is something else."""
    if isinstance(value, list) and all(type(item) is int and item >= 0 for item in value):
        return value
    return None
