"""GGUF headers: counts, lengths and offsets are checked before anything is read (fault 25)."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from mlxforge.engine.errors import LoadError
from mlxforge.engine.loader import load_model, resolve
from mlxforge.engine.loader.gguf_header import read_gguf_header

from .gguf_files import write_gguf


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "sound.gguf"
    write_gguf(path)
    return path.read_bytes()


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def header(*, version: int = 3, tensors: int = 0, keys: int = 0, body: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + body


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    dimensions = struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in shape)
    return string(name) + dimensions + struct.pack("<IQ", kind, offset)


def padded(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % 32) + bytes(size)


HUGE = 2**63
TWICE = tensor("t", (8,), 0, 0) + tensor("t", (8,), 0, 32)
OVERLAP = tensor("a", (16,), 0, 0) + tensor("b", (16,), 0, 32)
ALIGNMENT = string("general.alignment")
CASES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "cannot be read"),
    "magic": (b"GGML" + bytes(60), "magic"),
    "short": (b"GGUF\x03", "cut short"),
    "version": (header(version=1), "version 1"),
    "big-endian": (header(version=3 << 24), "version"),
    "tensor count": (header(tensors=HUGE), "tensor count"),
    "key count": (header(keys=HUGE), "key count"),
    "key length": (header(keys=1, body=struct.pack("<Q", HUGE)), "string length"),
    "key past the end": (header(keys=1, body=struct.pack("<Q", 60_000)), "cut short"),
    "value type": (header(keys=1, body=string("k") + struct.pack("<I", 99)), "type 99"),
    "array length": (
        header(keys=1, body=string("k") + struct.pack("<IIQ", 9, 4, HUGE)), "array length"),
    "array past the end": (
        header(keys=1, body=string("k") + struct.pack("<IIQ", 9, 4, 1 << 22)), "cut short"),
    "array of arrays": (
        header(keys=1, body=string("k") + struct.pack("<IIQ", 9, 9, 1) * 8), "type 9"),
    "key twice": (header(keys=2, body=(string("k") + struct.pack("<IB", 0, 1)) * 2), "twice"),
    "tensor twice": (
        padded(header(tensors=2, body=TWICE), 64), "twice"),
    "name length": (header(tensors=1, body=tensor("t" * 65, (8,), 0, 0)), "string length"),
    "dimensions": (header(tensors=1, body=string("t") + struct.pack("<I", 2**31)), "dimensions"),
    "no dimensions": (header(tensors=1, body=tensor("t", (), 0, 0)), "dimensions"),
    "zero": (header(tensors=1, body=tensor("t", (0,), 0, 0)), "shape"),
    "product overflow": (
        padded(header(tensors=1, body=tensor("t", (2**32, 2**32), 0, 0)), 64), "past the end"),
    "huge": (header(tensors=1, body=tensor("t", (2**63,), 0, 0)), "shape"),
    "block": (header(tensors=1, body=tensor("t", (33,), 2, 0)), "shape"),
    "storage type": (header(tensors=1, body=tensor("t", (8,), 77, 0)), "type 77"),
    "offset": (padded(header(tensors=1, body=tensor("t", (8,), 0, 2**62)), 64), "past the end"),
    "misaligned": (padded(header(tensors=1, body=tensor("t", (8,), 0, 8)), 64), "offset"),
    "overlap": (
        padded(header(tensors=2, body=OVERLAP), 96), "offset"),
    "past the end": (padded(header(tensors=1, body=tensor("t", (8,), 0, 32)), 32), "past the end"),
    "alignment": (
        header(keys=1, body=ALIGNMENT + struct.pack("<II", 4, 0)), "alignment"),
    "odd alignment": (
        header(keys=1, body=ALIGNMENT + struct.pack("<II", 4, 12)), "alignment"),
    "text alignment": (
        header(keys=1, body=ALIGNMENT + struct.pack("<I", 8) + string("x")), "alignment"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cve_2025_62608_cve_2024_21802_unsound_headers_are_refused(
    tmp_path: Path, name: str
) -> None:
    data, message = CASES[name]
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(LoadError, match=message):
        read_gguf_header(path)


def test_sound_files_pass(tmp_path: Path, sound: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(sound)
    found = read_gguf_header(path)
    assert found.architecture == "llama"
    assert found.tensors["blk.0.attn_k.weight"].shape == (32, 64)
    assert len(read_gguf_header(resolve("smollm2-135m-instruct")).tensors) == 272


MUTATIONS: list[Callable[[random.Random, bytearray], None]] = [
    lambda r, data: data.__setitem__(r.randrange(min(4096, len(data))), r.randrange(256)),
    lambda r, data: data.__setitem__(slice(r.randrange(len(data)), None), b""),
    lambda r, data: struct.pack_into(
        "<Q", data, r.randrange(min(9000, len(data) - 8)), r.choice([0, 1, 2**31, 2**62, 2**64 - 1])
    ),
    lambda r, data: struct.pack_into(
        "<I", data, r.randrange(min(9000, len(data) - 4)), r.choice([0, 7, 2**16, 2**31, 2**32 - 1])
    ),
]


def test_mutated_files_load_or_are_refused(tmp_path: Path, sound: bytes) -> None:
    """Whatever is changed, the end is a model or a LoadError, in bounded time."""
    generator = random.Random(2)
    path = tmp_path / "m.gguf"
    refused = 0
    for _ in range(250):
        data = bytearray(sound)
        for _ in range(generator.choice([1, 1, 3])):
            if len(data) > 16:
                generator.choice(MUTATIONS)(generator, data)
        path.write_bytes(data)
        try:
            load_model(str(path), dtype="float32").tokenizer.encode("some text")
        except LoadError:
            refused += 1
    assert 50 < refused < 250
