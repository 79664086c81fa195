"""Addresses to listen on: that nobody else does, and who may connect to a socket's file."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# sizeof(sockaddr_un.sun_path), with the NUL at its end.
MAX_PATH_BYTES = 103 if sys.platform == "darwin" else 107
CONNECT_SECONDS = 1.0


class BindError(Exception):
    """An address cannot be listened on; the message says why and what to do."""


def check_unused(address: str) -> None:
    """Raises ``BindError`` where a server listens on ``host:port`` already.

    gRPC does not tell when its servers share their ports: another one of this user's would get
    a part of the connections. What else may be wrong with an address, it tells.
    """
    host, _, port = address.rpartition(":")
    for family, place in _places(host.strip("[]"), port):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after connections
            try:
                probe.bind(place)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise _in_use(address) from error


def _places(host: str, port: str) -> list[tuple[int, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return []
    return [(family, place) for family, _, _, _, place in found]


class UnixSocket:
    """The file of a socket that this server listens on."""

    def __init__(self, address: str, mode: str) -> None:
        """Of ``unix:path`` or ``unix:///path``; ``mode`` is octal. Raises ``BindError``."""
        path = address.removeprefix("unix:")
        self.path = Path(path.removeprefix("//"))
        self._mode = int(mode, 8)
        self._inode: int | None = None
        size = len(os.fsencode(self.path))
        if size > MAX_PATH_BYTES:
            raise BindError(
                f"cannot listen on {address}: the path has {size} bytes, and a socket's may "
                f"have {MAX_PATH_BYTES}"
            )
        if not self.path.parent.is_dir():
            raise BindError(f"cannot listen on {address}: there is no folder {self.path.parent}")

    @contextmanager
    def binding(self) -> Iterator[None]:
        """Binds within: a socket that nobody listens on makes way, the new one gets its mode.

        Never is the file open to more users than in the end. Raises ``BindError``.
        """
        self._clear()
        before = os.umask(0o777 & ~self._mode)
        try:
            yield
        finally:
            os.umask(before)
        os.chmod(self.path, self._mode)
        self._inode = os.stat(self.path).st_ino

    def remove(self) -> None:
        """Remove the file, unless another server has put its own there."""
        try:
            if os.stat(self.path).st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass

    def _clear(self) -> None:
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise BindError(f"cannot listen on unix:{self.path}: a file that is no socket is there")
        if _answers(self.path):
            raise _in_use(f"unix:{self.path}")
        self.path.unlink(missing_ok=True)


def _in_use(address: str) -> BindError:
    return BindError(
        f"cannot listen on {address}: another server does. Choose another with --address"
    )


def _answers(path: Path) -> bool:
    """Whether somebody listens. What cannot be told (no permission, a full backlog) is a yes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
