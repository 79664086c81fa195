"""Faults of files: 25 (damaged models), 27 (no descriptors left, full disk, read errors)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from mlxforge.v1 import model_pb2

from .live import CODE, SMALL, connected, model_folder, request, serving, stream
from .shim import preloaded

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = int(os.environ.get("MLXFORGE_DAMAGED_FOLDERS", "20"))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with model_folder() as folder:
        yield folder


def test_row_25_damaged_folders_load_or_are_refused() -> None:
    """No crash, no hang, no error but the load's own; MLXFORGE_DAMAGED_FOLDERS for more."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.folders", "0", str(FOLDERS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60 + 2 * FOLDERS,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    outcomes = [line.rpartition(": ")[2] for line in lines]
    assert len(outcomes) == FOLDERS
    assert set(outcomes) >= {"refused", "answered"}


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process")
async def test_row_27_out_of_descriptors(folder: Path) -> None:
    """Connections beyond the limit wait or fail; those that are there are served."""
    import resource

    async with serving([folder], *SMALL) as server, connected(server.address) as client:
        alone = await stream(client, request())
        assert alone.whole
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        # The front's own: helpers of the worker may still be starting, with pipes of theirs.
        front = psutil.Process(server.pid)
        used = front.num_fds()
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used + 6, hard))
        channels = [
            grpc.aio.insecure_channel(
                server.address, options=(("grpc.use_local_subchannel_pool", 1),)
            )
            for _ in range(20)
        ]
        try:
            ready = await asyncio.gather(
                *(asyncio.wait_for(c.channel_ready(), 2) for c in channels),
                return_exceptions=True,
            )
            refused = sum(isinstance(result, Exception) for result in ready)
            assert refused > 0, "the limit was never met"
            for _ in range(5):
                assert (await stream(client, request())).tokens == alone.tokens
        finally:
            await asyncio.gather(*(channel.close() for channel in channels))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (hard, hard))
        await asyncio.sleep(1.5)  # gRPC takes up listening again after a pause
        async with connected(server.address) as another:
            assert (await stream(another, request())).tokens == alone.tokens
        assert front.num_fds() <= used + 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
async def test_row_27_a_full_disk_under_the_log(folder: Path) -> None:
    """Every write to the log fails with ENOSPC; requests do not notice."""
    code = (
        "import os, sys; os.dup2(os.open('/dev/full', os.O_WRONLY), 2);"
        "from mlxforge.service.cli import main; sys.argv[0] = 'mlxforge'; main()"
    )
    sets = [part for setting in SMALL for part in ("--set", setting)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, "serve", "--json", str(folder), "--address", "127.0.0.1:0",
        "--log-level", "debug", *sets, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = ""
        async with asyncio.timeout(120):
            while line := await process.stdout.readline():
                said = json.loads(line)
                address = said.get("addresses", [address])[0]
                if said["event"] == "ready":
                    break
        async with connected(address) as client:
            answers = [await stream(client, request()) for _ in range(5)]
            assert all(answer.whole for answer in answers)
            bad = await stream(client, request(n=1000))
            assert bad.code is CODE.INVALID_ARGUMENT
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs LD_PRELOAD and cc"
)
async def test_row_27_a_disk_with_read_errors(folder: Path, tmp_path: Path) -> None:
    """A model whose weights cannot be read is FAILED; the other one serves."""
    unlucky = tmp_path / "unlucky"
    shutil.copytree(folder, unlucky)
    environment = preloaded(tmp_path, eio="unlucky/model.safetensors")
    async with (
        serving([unlucky, folder], *SMALL, environment=environment) as server,
        connected(server.address) as client,
    ):
        assert server.ready["models"] == ["tiny"]
        listed = await client.models.ListModels(model_pb2.ListModelsRequest())
        states = {model.id: model.state for model in listed.models}
        assert states["unlucky"] == model_pb2.MODEL_STATE_FAILED
        assert (await stream(client, request(model="tiny"))).whole
        assert not (await stream(client, request(model="unlucky"))).whole
