"""Python's logging, handed to the host's log function."""

from __future__ import annotations

import io
import logging
import sys

from .host import Host

OFF = 1_000_000
"""Above every level: the C library says so when the host wants no log."""


class HostLog(logging.Handler):
    """Sends log records to the C library.

    In an interpreter of the library's own it takes everything that is logged or printed; in
    a host that is Python it takes the loggers of mlxforge alone and leaves the rest as it is.
    """

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self._logger = logging.getLogger() if host.owns_python else logging.getLogger("mlxforge")
        self._level_before = self._logger.level
        self.setFormatter(logging.Formatter("%(message)s"))

    def attach(self) -> None:
        """Begin. No level is wanted until ``set_level``."""
        if self._host.owns_python:
            # Handlers of the host's own logger come first in a Python host; here there are none,
            # and without one logging would write to stderr.
            self._logger.addHandler(logging.NullHandler())
            logging.captureWarnings(True)
            printed = logging.getLogger("python")
            sys.stdout = LogWriter(printed)
            sys.stderr = LogWriter(printed)

    def detach(self) -> None:
        """End; the logger is as it was."""
        self.set_level(OFF)

    def set_level(self, level: int) -> None:
        """Send records of ``level`` and above."""
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level_before)
        if level < OFF:
            self.setLevel(level)
            self._logger.setLevel(max(level, logging.DEBUG))
            self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record. It must not raise: logging is no reason to fail."""
        try:
            text = self.format(record).replace("\0", "\\0")
            self._host.log(record.levelno, record.name, text.encode(errors="replace").decode())
        except Exception:  # a record that cannot be formatted
            self._host.log(logging.ERROR, __name__, f"cannot format a record of {record.name}")


class LogWriter(io.TextIOBase):
    """Stands for stdout: what libraries print becomes lines of the log, never the host's output."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._line = ""

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Log the whole lines; a carriage return ends one too (progress bars)."""
        *lines, self._line = (self._line + text).replace("\r", "\n").split("\n")
        for line in lines:
            if line.strip():
                self._logger.info("%s", line.rstrip())
        return len(text)
