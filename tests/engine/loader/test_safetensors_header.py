"""Safetensors headers are checked before MLX's parser sees the file (fault 25)."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mlxforge.engine.errors import LoadError
from mlxforge.engine.loader.safetensors_header import MAX_HEADER, check_safetensors


def file(header: Any, data: int = 0, *, size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + bytes(data)


def entry(start: int, end: int, shape: Any = None, dtype: str = "U8") -> dict[str, Any]:
    shape = [end - start] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


CASES: dict[str, bytes] = {
    "empty": b"",
    "short": b"\x01\x00",
    "header past the end": file({}, size=1000),
    "header over the limit": file({}, size=MAX_HEADER + 1),
    "header of 2**64-1": file({}, size=2**64 - 1),
    "no JSON": file(b"{]"),
    "a list": file([]),
    "not UTF-8": file(b'{"\xff": 1}'),
    "deep": file(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "name twice": file(
        b'{"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},'
        b' "a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}}', 8),
    "key twice": file(
        b'{"a": {"dtype": "U8", "dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}', 4),
    "no description": file({"a": 5}, 4),
    "unknown type": file({"a": entry(0, 4, dtype="Q9")}, 4),
    "no shape": file({"a": {"dtype": "U8", "data_offsets": [0, 4]}}, 4),
    "negative size": file({"a": entry(0, 4, [-4])}, 4),
    "two negatives": file({"a": entry(0, 4, [-2, -2])}, 4),
    "float size": file({"a": entry(0, 4, [4.0])}, 4),
    "true": file({"a": entry(0, 1, [True])}, 1),
    "overflow": file({"a": entry(0, 0, [2**32, 2**32], "F32")}),
    "many dimensions": file({"a": entry(0, 1, [1] * 9)}, 1),
    "size and shape differ": file({"a": entry(0, 4, [5])}, 4),
    "backwards": file({"a": entry(4, 0, [4])}, 4),
    "past the end": file({"a": entry(0, 8)}, 4),
    "rest": file({"a": entry(0, 4)}, 8),
    "gap": file({"a": entry(0, 4), "b": entry(6, 8)}, 8),
    "overlap": file({"a": entry(0, 4), "b": entry(2, 6)}, 6),
    "three offsets": file({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4, 4]}}, 4),
    "metadata": file({"__metadata__": {"a": 1}, "a": entry(0, 4)}, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cve_2025_62609_unsound_headers_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(CASES[name])
    with pytest.raises(LoadError, match=r"m\.safetensors"):
        check_safetensors(path)


def test_sound_files_pass(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    arrays = {
        "a": mx.ones((3, 5)),
        "b": mx.ones((7,), mx.bfloat16),
        "scalar": mx.array(1),
        "none": mx.zeros((0, 4), mx.float16),
    }
    mx.save_safetensors(str(path), arrays, {"format": "mlx"})
    check_safetensors(path)
    mx.save_safetensors(str(path), arrays)
    check_safetensors(path)
    path.write_bytes(file({}))
    check_safetensors(path)


def test_mutated_files_are_read_as_checked_or_refused(tmp_path: Path) -> None:
    """What passes the check is what MLX then reads: same names, shapes, and no crash."""
    path = tmp_path / "m.safetensors"
    mx.save_safetensors(str(path), {f"layer.{i}": mx.ones((i + 1, 4)) for i in range(6)})
    sound = path.read_bytes()
    size = int.from_bytes(sound[:8], "little")
    generator = random.Random(7)
    refused = 0
    for _ in range(600):
        data = bytearray(sound)
        for _ in range(generator.choice([1, 1, 2])):
            at = generator.randrange(8 + size)
            data[at] = generator.choice([generator.randrange(256), *b'0123456789",:[]{}-'])
        if generator.random() < 0.1:
            del data[generator.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            check_safetensors(path)
        except LoadError:
            refused += 1
            continue
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        try:
            arrays: Any = mx.load(str(path))
        except RuntimeError:
            continue  # a type that MLX does not know
        for name, array in arrays.items():
            assert list(array.shape) == header[name]["shape"]
            mx.eval(array)
    assert 300 < refused < 600
