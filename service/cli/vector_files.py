"""Files of vectors that can be gone on with: JSON lines and NumPy's ``.npy``.

Both are written batch by batch and may end anywhere, after a kill too: what is not whole at
the end of the file is cut off when it is opened again.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from .failure import CommandError, ExitCode


class VectorFile(Protocol):
    """Takes vectors in order. ``count`` are in the file already."""

    count: int

    def write(self, vectors: NDArray[np.float32], truncated: list[bool]) -> None:
        """Append vectors (N, D); ``truncated`` says of which texts a part was left out."""
        ...

    def close(self) -> None:
        """Leave a whole file behind."""
        ...


def open_vectors(path: Path | None, *, resume: bool, overwrite: bool) -> VectorFile:
    """The file for a path, by its ending; None: JSON lines to stdout.

    Raises ``CommandError`` for a file that is there already, unless told what to do with it,
    and for one that is no file of vectors.
    """
    if path is None:
        return JsonLines(sys.stdout.buffer, 0)
    kinds: dict[str, type[Npy] | type[JsonLines]]
    kinds = {".npy": Npy, ".jsonl": JsonLines, ".json": JsonLines}
    kind = kinds.get(path.suffix)
    if kind is None:
        raise CommandError(
            f"{path}: the ending says the form, and it is neither .jsonl nor .npy",
            code=ExitCode.USAGE,
        )
    if path.exists() and not (resume or overwrite):
        raise CommandError(
            f"{path} exists", "go on with it with --resume, or --overwrite it", ExitCode.USAGE
        )
    try:
        file = path.open("r+b" if resume and path.exists() else "w+b")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", code=ExitCode.USAGE) from error
    try:
        return kind.resumed(file)
    except ValueError as error:
        file.close()
        raise CommandError(
            f"{path} cannot be gone on with: {error}", "--overwrite it", ExitCode.USAGE
        ) from error


class JsonLines:
    """One object a line: ``index``, ``embedding`` and, where it is so, ``truncated``."""

    def __init__(self, file: BinaryIO, count: int) -> None:
        self._file = file
        self.count = count

    @classmethod
    def resumed(cls, file: BinaryIO) -> JsonLines:
        """Go on after the last whole line. Raises ``ValueError``."""
        count, end, last = 0, 0, b""
        for line in file:
            if not line.endswith(b"\n"):
                break
            count, end, last = count + 1, end + len(line), line
        if last:
            found = json.loads(last)
            if not isinstance(found, dict) or found.get("index") != count - 1:
                raise ValueError(f"its last line is not the vector of index {count - 1}")
        file.truncate(end)
        file.seek(end)
        return cls(file, count)

    def write(self, vectors: NDArray[np.float32], truncated: list[bool]) -> None:
        """See ``VectorFile``."""
        lines: list[str] = []
        for vector, cut in zip(vectors, truncated, strict=True):
            # As short as they can be and still the same f32.
            values = ",".join(str(value) for value in vector)
            mark = ',"truncated":true' if cut else ""
            lines.append(f'{{"index":{self.count}{mark},"embedding":[{values}]}}\n')
            self.count += 1
        self._file.write("".join(lines).encode())
        self._file.flush()

    def close(self) -> None:
        """See ``VectorFile``."""
        if self._file is not sys.stdout.buffer:
            self._file.close()


class Npy:
    """An array (texts, dimensions) of f32, little-endian.

    NumPy leaves room in the header for the first axis to grow, so that the count can be
    written over in place.
    """

    def __init__(self, file: BinaryIO, count: int, dimensions: int | None) -> None:
        self._file = file
        self._dimensions = dimensions
        self.count = count

    @classmethod
    def resumed(cls, file: BinaryIO) -> Npy:
        """Go on after the last whole vector. Raises ``ValueError``."""
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if not size:
            return cls(file, 0, None)
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("its version is unknown")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if len(shape) != 2 or fortran or dtype != np.dtype("<f4"):
            raise ValueError(f"it holds {dtype} of shape {shape}, not vectors of f32")
        # The count in the header is of the last regular end.
        start, dimensions = file.tell(), int(shape[1])
        count = (size - start) // (4 * dimensions)
        file.truncate(start + count * 4 * dimensions)
        file.seek(0, io.SEEK_END)
        return cls(file, count, dimensions)

    def write(self, vectors: NDArray[np.float32], truncated: list[bool]) -> None:
        """See ``VectorFile``. Raises ``CommandError`` for vectors of another width."""
        if self._dimensions is None:
            self._dimensions = vectors.shape[1]
            self._write_header()
        if vectors.shape[1] != self._dimensions:
            raise CommandError(
                f"the file has vectors of {self._dimensions} values, these have "
                f"{vectors.shape[1]}: another model, or another --dimensions",
                code=ExitCode.USAGE,
            )
        self._file.write(vectors.astype("<f4", order="C").tobytes())
        self._file.flush()
        self.count += len(vectors)

    def close(self) -> None:
        """See ``VectorFile``."""
        if self._dimensions is not None:
            self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        header: dict[str, Any] = {
            "descr": "<f4",
            "fortran_order": False,
            "shape": (self.count, self._dimensions),
        }
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header)
        self._file.seek(0, io.SEEK_END)
