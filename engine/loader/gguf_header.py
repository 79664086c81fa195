"""The header of a GGUF file, read and checked before any native parser sees the file.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every count, length and
offset is held against the file's size, so that a damaged or hostile file ends in a
``LoadError`` and never in an allocation of its choosing.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import LoadError

MAX_TENSORS = 65_536
MAX_KEYS = 4_096
MAX_ARRAY = 4_194_304
MAX_STRING = 16 << 20
MAX_NAME = 64  # of a tensor; ggml's own limit, GGML_MAX_NAME
MAX_ARRAY_DEPTH = 1  # arrays of arrays occur in no known model
MAX_HEADER = 512 << 20

_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f",
    7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class TensorType:
    """A storage type of ggml: ``block`` values in ``size`` bytes."""

    name: str
    block: int
    size: int


TENSOR_TYPES: dict[int, TensorType] = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    20: TensorType("IQ4_NL", 32, 18),
    23: TensorType("IQ4_XS", 256, 136),
    30: TensorType("BF16", 1, 2),
}


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where one tensor lies: ``shape`` in row-major order, ``offset`` from the file's start."""

    name: str
    type: TensorType
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Metadata and tensor directory of a checked file."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]

    @property
    def architecture(self) -> str:
        """``general.architecture``."""
        return str(self.metadata.get("general.architecture", ""))


class _Reader:
    """Bounds-checked reads from the start of a file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.size = len(data)
        self.at = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > self.size or end > MAX_HEADER:
            raise LoadError("GGUF: the header is cut short")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def scalar(self, code: str) -> Any:
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def count(self, limit: int, what: str) -> int:
        value: int = self.scalar("<Q")
        if value > limit:
            raise LoadError(f"GGUF: {what} of {value} is over the limit of {limit}")
        return value

    def string(self, limit: int = MAX_STRING) -> str:
        return self.take(self.count(limit, "a string length")).decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self.string()
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _ARRAY and depth < MAX_ARRAY_DEPTH:
            return self._array(depth)
        raise LoadError(f"GGUF: unknown metadata type {kind}")

    def _array(self, depth: int) -> list[Any]:
        kind = self.scalar("<I")
        length = self.count(MAX_ARRAY, "an array length")
        if kind in _SCALARS:
            code = _SCALARS[kind]
            raw = self.take(length * struct.calcsize(code))
            return list(struct.unpack(f"<{length}{code[1]}", raw))
        read: Callable[[], Any]
        read = self.string if kind == _STRING else lambda: self.value(kind, depth + 1)
        return [read() for _ in range(length)]


def read_gguf_header(path: Path) -> GgufHeader:
    """Read and check a file's header. Raises ``LoadError``, saying what is wrong."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(_Reader(data))
    except (OSError, ValueError, struct.error) as error:
        raise LoadError(f"GGUF: {path.name} cannot be read: {error}") from error


def _parse(reader: _Reader) -> GgufHeader:
    if reader.take(4) != b"GGUF":
        raise LoadError("GGUF: not a GGUF file (wrong magic)")
    version = reader.scalar("<I")
    if version not in (2, 3):
        raise LoadError(f"GGUF: version {version} is not supported (2 and 3 are)")
    tensor_count = reader.count(MAX_TENSORS, "a tensor count")
    key_count = reader.count(MAX_KEYS, "a key count")
    metadata: dict[str, Any] = {}
    for _ in range(key_count):
        key = reader.string(65_535)
        if key in metadata:
            raise LoadError(f"GGUF: key {key!r} occurs twice")
        metadata[key] = reader.value(reader.scalar("<I"))
    entries = [_tensor_entry(reader) for _ in range(tensor_count)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 8 <= alignment <= 65_536 or alignment % 8:
        raise LoadError(f"GGUF: alignment {alignment!r} is not usable")
    start = math.ceil(reader.at / alignment) * alignment
    return GgufHeader(metadata, _place(entries, start, alignment, reader.size))


def _tensor_entry(reader: _Reader) -> GgufTensor:
    name = reader.string(MAX_NAME)
    dimensions = reader.scalar("<I")
    if not 1 <= dimensions <= 4:
        raise LoadError(f"GGUF: tensor {name!r} has {dimensions} dimensions")
    shape = tuple(reader.scalar("<Q") for _ in range(dimensions))
    code = reader.scalar("<I")
    offset = reader.scalar("<Q")
    type_ = TENSOR_TYPES.get(code)
    if type_ is None:
        raise LoadError(f"GGUF: tensor {name!r} has the unsupported storage type {code}")
    if min(shape) == 0 or max(shape) >= 1 << 40 or shape[0] % type_.block:
        raise LoadError(f"GGUF: tensor {name!r} has an unusable shape {shape}")
    size = math.prod(shape) // type_.block * type_.size
    return GgufTensor(name, type_, shape[::-1], offset, size)


def _place(
    entries: list[GgufTensor], start: int, alignment: int, file_size: int
) -> dict[str, GgufTensor]:
    """Absolute offsets; each tensor aligned, inside the file and overlapping no other."""
    tensors: dict[str, GgufTensor] = {}
    end = 0
    for entry in sorted(entries, key=lambda tensor: tensor.offset):
        if entry.name in tensors:
            raise LoadError(f"GGUF: tensor {entry.name!r} occurs twice")
        if entry.offset % alignment or entry.offset < end:
            raise LoadError(f"GGUF: tensor {entry.name!r} has a bad offset {entry.offset}")
        end = entry.offset + entry.size
        if start + end > file_size:
            raise LoadError(f"GGUF: tensor {entry.name!r} reaches past the end of the file")
        tensors[entry.name] = GgufTensor(
            entry.name, entry.type, entry.shape, start + entry.offset, entry.size
        )
    return tensors
