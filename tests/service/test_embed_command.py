"""``mlxforge embed`` in processes of its own, against a server with MiniLM in this one."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mlxforge.engine.embedding.engine import EmbeddingEngine
from mlxforge.service.cli.app import app
from mlxforge.service.cli.failure import CommandError
from mlxforge.service.cli.vector_files import open_vectors

from .serving import Client, serving
from .test_cli import mlxforge, spawn

TEXTS = ["A man is eating food.", "A man is eating a piece of bread.", "", "Ein Mann isst 🍞"]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving(EmbeddingEngine("all-minilm-l6-v2")) as client:
        yield client


def vectors_of(lines: str) -> np.ndarray[Any, Any]:
    found = [json.loads(line) for line in lines.splitlines()]
    assert [item["index"] for item in found] == list(range(len(found)))
    return np.array([item["embedding"] for item in found], np.float32)


async def test_texts_files_and_stdin(client: Client, tmp_path: Path) -> None:
    """The same texts, in every form, to every form."""
    server = ("-a", client.address)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    lines = [json.dumps({"id": i, "body": text}) for i, text in enumerate(TEXTS)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n")
    arguments = await mlxforge("embed", *TEXTS, *server)
    assert (arguments.code, arguments.err) == (0, "")
    expected = vectors_of(arguments.out)
    assert expected.shape == (4, 384)
    assert abs(expected[0] @ expected[1] - 0.755) < 1e-3
    stdin = await mlxforge("embed", *server, stdin="\n".join(TEXTS))
    np.testing.assert_array_equal(vectors_of(stdin.out), expected)
    npy, jsonl = tmp_path / "out.npy", tmp_path / "out.jsonl"
    file = await mlxforge(
        "embed", "-f", str(tmp_path / "texts.txt"), "-o", str(npy), "--batch-size", "3", *server
    )
    assert (file.code, file.out) == (0, "")
    np.testing.assert_allclose(np.load(npy), expected, atol=1e-5)
    fields = ("-f", str(tmp_path / "texts.jsonl"), "--field", "body", "-o", str(jsonl))
    assert (await mlxforge("embed", *fields, "--dimensions", "8", *server)).code == 0
    short = expected[:, :8] / np.linalg.norm(expected[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(vectors_of(jsonl.read_text()), short, atol=1e-5)


async def test_killed_and_resumed(client: Client, tmp_path: Path) -> None:
    source, output = tmp_path / "corpus.txt", tmp_path / "corpus.npy"
    source.write_text("".join(f"Text number {i} of a corpus.\n" for i in range(240)))
    command = ["embed", "-f", str(source), "-o", str(output), "--batch-size", "8"]
    command += ["-a", client.address]
    process = await spawn(*command)
    async for _ in _growing(output):
        if output.exists() and output.stat().st_size > 20 * 384 * 4:
            break
    process.kill()
    await process.communicate()
    assert output.stat().st_size < 200 * 384 * 4
    with output.open("ab") as file:
        file.write(b"torn")  # as if killed in the middle of a vector
    refused = await mlxforge(*command)
    assert refused.code == 2
    assert "--resume" in refused.err
    assert (await mlxforge(*command, "--resume")).code == 0
    vectors = np.load(output)
    assert vectors.shape == (240, 384)
    whole = await mlxforge(*command[:4], str(tmp_path / "whole.npy"), "-a", client.address)
    assert whole.code == 0
    np.testing.assert_allclose(vectors, np.load(tmp_path / "whole.npy"), atol=1e-5)


async def _growing(path: Path) -> AsyncIterator[None]:
    import asyncio

    async with asyncio.timeout(60):
        while True:
            yield
            await asyncio.sleep(0.01)


async def test_wrong_requests(client: Client, tmp_path: Path) -> None:
    server = ("-a", client.address)
    long = await mlxforge("embed", "fine", "long " * 400, *server)
    assert long.code == 2
    assert "inputs[1] has 402 tokens" in long.err
    cut = await mlxforge("embed", "long " * 400, "--truncate", *server)
    assert json.loads(cut.out)["truncated"] is True
    wide = await mlxforge("embed", "x", "--dimensions", "385", "--json", *server)
    [violation] = json.loads(wide.err)["error"]["field_violations"]
    assert violation["field"] == "dimensions"
    (tmp_path / "texts.jsonl").write_text('{"text": "a"}\n{"body": "b"}\n')
    fields = await mlxforge("embed", "-f", str(tmp_path / "texts.jsonl"), *server)
    assert fields.code == 2
    assert "line 2" in fields.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["x", "--resume"],
        ["--resume", "--output", "never-made.npy"],
        ["x", "--output", "never-made.csv", "--address", "127.0.0.1:1"],
        ["x", "--pooling", "max"],
        ["-f", "no-such-file"],
    ],
)
def test_wrong_use(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["embed", *arguments]).exit_code == 2


@pytest.mark.parametrize("name", ["v.npy", "v.jsonl"])
def test_files_cut_anywhere_go_on(tmp_path: Path, name: str) -> None:
    """Whatever a kill leaves behind, what comes after it completes the file."""
    vectors = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    path = tmp_path / name
    file = open_vectors(path, resume=False, overwrite=False)
    file.write(vectors[:3], [False, True, False])
    file.write(vectors[3:], [False, False])
    file.close()
    whole = path.read_bytes()
    start = 128 if name.endswith("npy") else 0
    for size in [0, *range(start, len(whole) + 1, 7)]:
        path.write_bytes(whole[:size])
        file = open_vectors(path, resume=True, overwrite=False)
        assert file.count <= 5
        file.write(vectors[file.count :], [i == 1 for i in range(file.count, 5)])
        file.close()
        assert path.read_bytes() == whole
    if name.endswith("npy"):
        np.testing.assert_array_equal(np.load(path), vectors)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.npy", b"something else"),
        ("v.npy", None),
        ("v.jsonl", b"[1]\n"),
        ("v.jsonl", b'{"index": 7}\n'),
        ("v.jsonl", b"text\n"),
    ],
)
def test_other_files_are_left_alone(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is None:
        np.save(path, np.zeros((2, 2)))
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(CommandError):
        open_vectors(path, resume=True, overwrite=False)
    with pytest.raises(CommandError, match="exists"):
        open_vectors(path, resume=False, overwrite=False)
    assert path.read_bytes() == before
    open_vectors(path, resume=False, overwrite=True).close()
    assert os.path.getsize(path) == 0
