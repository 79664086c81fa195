"""Unix sockets: who may connect, and whose file is removed."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mlxforge.service.api import Api
from mlxforge.service.config import ConfigError, Settings
from mlxforge.service.registry import Registry
from mlxforge.service.security import AuthSettings
from mlxforge.service.server import BindError, Server
from mlxforge.service.server.sockets import MAX_PATH_BYTES

from ..raw_calls import unary_unary
from ..serving import Start


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one: pytest's own is too long for a socket on macOS."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def server(path: Path | str, **settings: Any) -> Server:
    return Server(Api(Registry()), Settings(address=(f"unix:{path}",), **settings))


@pytest.mark.parametrize(("mode", "expected"), [("600", 0o600), ("0660", 0o660), ("666", 0o666)])
async def test_permissions(mode: str, expected: int, tmp_path: Path) -> None:
    path = tmp_path / "s"
    before = os.umask(0o022)
    os.umask(before)
    running = server(path, socket_mode=mode)
    await running.start()
    assert stat.S_IMODE(path.stat().st_mode) == expected
    after = os.umask(before)
    assert after == before
    await running.stop()
    assert not path.exists()


async def test_never_open_to_more_users_than_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever connects before a chmod stays connected: the file must be born closed."""
    born: list[int] = []
    real = os.chmod

    def chmod(path: os.PathLike[str], mode: int) -> None:
        born.append(stat.S_IMODE(os.stat(path).st_mode))
        real(path, mode)

    monkeypatch.setattr("mlxforge.service.server.sockets.os.chmod", chmod)
    running = server(tmp_path / "s")
    await running.start()
    await running.stop()
    assert born == [0o600]


async def test_a_stale_socket_makes_way(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    running = server(f"//{path}")
    await running.start()
    assert running.addresses == [f"unix://{path}"]
    await running.stop()
    assert not path.exists()


async def test_a_socket_in_use_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first, second = server(path), server(path)
    await first.start()
    inode = path.stat().st_ino
    with pytest.raises(BindError, match="another server does"):
        await second.start()
    await second.stop()
    assert path.stat().st_ino == inode
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        async with asyncio.timeout(5):
            await channel.channel_ready()
    await first.stop()


async def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    long = tmp_path / ("x" * MAX_PATH_BYTES)
    for path, message in [
        (tmp_path / "file", "a file that is no socket is there"),
        (tmp_path / "no" / "s", "there is no folder"),
        (long, f"bytes, and a socket's may have {MAX_PATH_BYTES}"),
    ]:
        running = server(path)
        with pytest.raises(BindError, match=message):
            await running.start()
        await running.stop()
    assert (tmp_path / "file").read_text() == "precious"


async def test_the_longest_path(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * (MAX_PATH_BYTES - len(str(tmp_path)) - 3))
    folder.mkdir()
    path = folder / "s"
    assert len(str(path)) == MAX_PATH_BYTES
    running = server(path)
    await running.start()
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        async with asyncio.timeout(5):
            await channel.channel_ready()
    await running.stop()


@pytest.mark.parametrize("mode", ["", "6", "888", "0o600", "1777", "rw"])
def test_wrong_modes(mode: str) -> None:
    with pytest.raises(ConfigError, match="socket_mode must be three octal digits"):
        Settings(socket_mode=mode)


async def test_sockets_need_tokens_too(start: Start, tmp_path: Path) -> None:
    auth = AuthSettings(tokens=("a:0123456789abcdef",))
    client = await start(address=(f"unix:{tmp_path}/s",), auth=auth)
    call = unary_unary(client.channel, "/mlxforge.v1.ModelService/ListModels")(b"")
    assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
