"""The library on a real model: examples, many threads, the same answers as gRPC, fork and exit."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.engine import Engine
from mlxforge.service.api import Api
from mlxforge.service.config import Settings
from mlxforge.service.registry import Registry
from mlxforge.service.server import Server

from .conftest import environment

MODEL = "smollm2-135m-instruct"
GENERATE = json.dumps({"model": MODEL})
EMBED = json.dumps({"model": "all-minilm-l6-v2"})


def run(build: Path, *command: str, timeout: float = 250) -> subprocess.CompletedProcess[str]:
    """A program of the build, on the Python environment of the tests."""
    return subprocess.run(
        [str(build / command[0]), *command[1:]],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.mark.parametrize(
    ("example", "arguments", "answer"),
    [
        ("chat", ["What is the capital of France?", GENERATE], "The capital of France is Paris."),
        ("batch", [GENERATE], "The capital of France is Paris."),
        ("search", ["How long does spaghetti take to cook?", EMBED], "best: Boil the pasta"),
        ("logging", [GENERATE], "4 tokens"),
    ],
)
def test_example(build: Path, example: str, arguments: list[str], answer: str) -> None:
    done = run(build, f"examples/{example}", *arguments)
    assert done.returncode == 0, done.stderr
    assert answer in done.stdout


def test_example_extract(build: Path) -> None:
    done = run(build, "examples/extract", "Bob is 12 years old.", GENERATE)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer.keys() == {"name", "age"}
    assert isinstance(answer["name"], str) and 0 <= answer["age"] <= 150


def test_64_threads(build: Path) -> None:
    """A short form of the soak (10 rounds of 20 calls a thread) that releases are run through."""
    done = run(build, "tests/stress", "{}", "64", "4", "3", "1", "4")
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["ended"] for r in rounds] == [64 * 4] * 3
    assert all(r["cancelled"] > 10 for r in rounds)
    assert rounds[-1]["threads"] == rounds[0]["threads"]
    assert rounds[-1]["fds"] == rounds[0]["fds"]


def test_fork(build: Path) -> None:
    done = run(build, "tests/process", "fork", GENERATE, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_exit_while_generating(build: Path) -> None:
    command = [str(build / "tests" / "process"), "exit", GENERATE]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "exiting\n"
        start = time.monotonic()
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("after_ms", ["300", "900", "1200", "1500", "2000"])
def test_exit_while_opening(build: Path, after_ms: str) -> None:
    """At the imports, the weights, the first steps: nothing computes beneath MLX's destructors."""
    command = [str(build / "tests" / "process"), "exit-opening", GENERATE]
    done = subprocess.run(
        command,
        env=environment(EXIT_AFTER_MS=after_ms),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "exiting\n", "")


REQUESTS: list[tuple[str, dict[str, Any]]] = [
    (
        "mlxforge.v1.GenerationService/Generate",
        {"prompt": "Once upon a time", "maxTokens": 12, "samplingParams": {"seed": 7}, "n": 2},
    ),
    (
        "mlxforge.v1.GenerationService/StreamGenerate",
        {
            "chat": {"messages": [{"role": "user", "content": "Grüße! Count to four."}]},
            "maxTokens": 12,
            "logprobs": 2,
            "samplingParams": {"temperature": 0},
        },
    ),
    ("mlxforge.v1.TokenizerService/Tokenize", {"text": "tokens, counted 🎉"}),
    ("mlxforge.v1.GenerationService/Generate", {"prompt": "x", "samplingParams": {"topP": 3}}),
    ("mlxforge.v1.EmbeddingService/Embed", {"model": "nobody", "inputs": [{"text": "x"}]}),
]


async def by_grpc() -> list[list[Any]]:
    """The answers of a server, as the driver prints them."""
    registry = Registry()
    registry.add(MODEL, Engine(MODEL, EngineConfig(), model_id=MODEL))
    api = Api(registry)
    server = Server(api, Settings(address=("127.0.0.1:0",)))
    await server.start()
    await registry.load(MODEL)
    async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
        answers = []
        for name, fields in REQUESTS:
            method = api.methods[name]
            request = json_format.ParseDict(fields, method.request_type())
            call = channel.unary_stream(
                f"/{name}",
                request_serializer=method.request_type.SerializeToString,
                response_deserializer=method.response_type.FromString,
            )(request)
            lines: list[Any] = []
            try:
                async for response in call:
                    lines.append(comparable(json_format.MessageToDict(response)))
                lines.append("OK")
            except grpc.aio.AioRpcError as error:
                lines.append(f"{error.code().value[0]} {error.details()}")
            answers.append(lines)
    await server.stop()
    await registry.close()
    return answers


class Vector(tuple[float, ...]):
    """Equal to rounding, which depends on what ran beside."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and list(self) == pytest.approx(list(other), abs=1e-4)

    __hash__ = None  # type: ignore[assignment]  # Python's way to say unhashable


def comparable(response: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from call to call."""
    for embedding in response.get("embeddings", []):
        embedding["values"] = Vector(embedding["values"])
    for part in (response, response.get("finish", {})):
        part.pop("timings", None)
    response.pop("id", None)
    return response


def joined(lines: list[Any]) -> list[Any]:
    """Pieces of a stream put together: how text is cut into messages is a matter of time.

    Log probabilities are equal to rounding, which depends on what ran before and beside.
    """
    text, tokens, rest = "", [], []
    for line in lines:
        delta = line.get("delta") if isinstance(line, dict) else None
        if delta is None:
            rest.append(line)
        else:
            text += delta.get("text", "")
            for entry in delta.get("logprobs", []):
                top = [(t["tokenId"], pytest.approx(t["logprob"], abs=1e-3)) for t in entry["top"]]
                tokens.append((entry["chosen"]["tokenId"], top))
    return [text, tokens, *rest]


async def test_answers_are_those_of_grpc(build: Path) -> None:
    expected = await by_grpc()
    for (method, fields), answers in zip(REQUESTS, expected, strict=True):
        done = run(build, "tests/driver", GENERATE, method, json.dumps(fields))
        *messages, end = done.stdout.splitlines()
        lines = [comparable(json.loads(line)) for line in messages]
        assert joined([*lines, end]) == joined(answers), done.stderr
