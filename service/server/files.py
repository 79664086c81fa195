"""Something made of files, made again when they change."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from ..config import ConfigError

_log = logging.getLogger("mlxforge.service.server")
T = TypeVar("T")
_Stamp = tuple[tuple[int, int, int], ...]


class Reloaded(Generic[T]):
    """A value read from files. New files that are no good change nothing and are logged.

    Changes are seen when the value is asked for: one ``stat`` a file. Any thread may ask.
    """

    def __init__(self, name: str, paths: Sequence[Path], read: Callable[[], T]) -> None:
        """Reads the files. Raises ``ConfigError``, as ``read`` does when they are no good."""
        self._name = name
        self._paths = paths
        self._read = read
        self._lock = threading.Lock()
        self._complaint = ""
        self._stamp = self._stamped()
        self._value = read()

    @property
    def value(self) -> T:
        """Of the files as they are now, or as they last were good."""
        with self._lock:
            self._look()
            return self._value

    def _look(self) -> None:
        try:
            stamp = self._stamped()
            if stamp == self._stamp:
                return
            # A change midway through the reading shows in the stamp the next time.
            self._value = self._read()
        except ConfigError as error:
            # Tried again each time: a certificate and its key are not replaced at one moment.
            if self._complaint != str(error):
                self._complaint = str(error)
                _log.error("%s: the old ones stay in use: %s", self._name, error)
            return
        self._stamp, self._complaint = stamp, ""
        _log.info("%s: read again", self._name)

    def _stamped(self) -> _Stamp:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise unreadable(path, error) from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_file(path: Path, *, secret: bool = False) -> bytes:
    """The file's bytes. Raises ``ConfigError``, for a secret also when all may read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read()
    except OSError as error:
        raise unreadable(path, error) from error
    if secret and mode & 0o007:
        raise ConfigError(f"{path} holds secrets and is open to every user: chmod 600 {path}")
    return data


def unreadable(path: Path, error: OSError) -> ConfigError:
    """What to say of a file that cannot be read."""
    return ConfigError(f"cannot read {path}: {error.strerror}")
