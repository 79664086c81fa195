"""The command line in processes of its own, against servers in this one."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import pty
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mlxforge.engine.request import GenerationRequest
from mlxforge.service.cli.app import COMMANDS, app
from mlxforge.service.cli.printing import size, table
from mlxforge.service.config import Settings

from .fakes import FakeEngine, Script
from .serving import Client, Start, until

HANG = Script(word_seconds=30)


@dataclass
class Result:
    code: int
    out: str
    err: str


async def spawn(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mlxforge.service.cli",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def mlxforge(*arguments: str, stdin: str = "") -> Result:
    """Run to the end, in less than a minute."""
    process = await spawn(*arguments)
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin.encode())
    return Result(process.returncode or 0, out.decode(), err.decode())


def generated(client: Client) -> list[GenerationRequest]:
    """What the engine was asked for, which must be to generate."""
    found = []
    for request in client.engine.requests:
        assert isinstance(request, GenerationRequest)
        found.append(request)
    return found


def contents(request: GenerationRequest) -> list[str]:
    """The messages of a chat."""
    assert request.chat is not None
    return [message.content for message in request.chat.messages]


async def test_generate(start: Start) -> None:
    client = await start()
    answers = await asyncio.gather(
        mlxforge("generate", "one two", "-n", "3", "-a", client.address),
        mlxforge("generate", "-", "--raw", "--json", "-a", client.address, stdin="from stdin"),
        mlxforge("generate", "hi", "-s", "be kind", "-t", "0", "-a", client.address),
    )
    text, raw, system = answers
    assert (text.code, text.out, text.err) == (0, "one two one\n", "")
    answer = json.loads(raw.out)
    assert answer["choices"][0]["text"].startswith("from stdin from")
    assert answer["usage"]["completion_tokens"] == 8
    assert system.code == 0
    requests = generated(client)
    prompts = {request.prompt for request in requests}
    assert prompts == {None, "from stdin"}
    [chat] = [r.chat for r in requests if r.sampling_params.temperature == 0]
    assert chat is not None
    assert [(m.role, m.content) for m in chat.messages] == [("system", "be kind"), ("user", "hi")]


async def test_generate_with_a_schema(start: Start, tmp_path: Path) -> None:
    client = await start()
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    result = await mlxforge(
        "generate", "x", "--json-schema", str(schema), "--top-p", "0.5", "-a", client.address
    )
    assert result.code == 0
    [request] = generated(client)
    assert request.constraint is not None
    assert request.constraint.source == '{"type": "object"}'
    schema.write_text("{")
    bad = await mlxforge("generate", "x", "--json-schema", str(schema), "-a", client.address)
    assert bad.code == 2 and "is not JSON" in bad.err


async def test_chat_through_a_pipe(start: Start) -> None:
    client = await start()
    lines = "first line\n\n/reset\nsecond line\nthird\n/exit\nnever\n"
    result = await mlxforge("chat", "-s", "sys", "-n", "2", "-a", client.address, stdin=lines)
    assert (result.code, result.out) == (0, "first line\nsecond line\nthird third\n")
    assert [contents(request) for request in generated(client)] == [
        ["sys", "first line"],
        ["sys", "second line"],
        ["sys", "second line", "second line", "third"],
    ]


async def test_chat_as_json(start: Start) -> None:
    client = await start()
    result = await mlxforge("chat", "--json", "-n", "2", "-a", client.address, stdin="a b\nc\n")
    answers = [json.loads(line) for line in result.out.splitlines()]
    assert [answer["content"] for answer in answers] == ["a b", "c c"]
    assert answers[0]["finish_reason"] == "FINISH_REASON_LENGTH"
    assert answers[0]["usage"] == {"prompt_tokens": 2, "completion_tokens": 2}


async def test_models_and_version(start: Start) -> None:
    client = await start()
    plain, as_json, version = await asyncio.gather(
        mlxforge("models", "-a", client.address),
        mlxforge("models", "--json", "-a", client.address),
        mlxforge("version", "--json"),
    )
    head, row = plain.out.splitlines()
    assert head.split() == ["MODEL", "STATE", "CAN", "CONTEXT", "WEIGHTS", "TYPE"]
    assert row.split()[:5] == ["fake", "(default)", "ready", "generate,", "chat"]
    assert json.loads(as_json.out)["models"][0]["id"] == "fake"
    assert {"mlxforge", "mlx", "mlx-lm", "grpcio", "python"} <= set(json.loads(version.out))


FAILURES: list[tuple[list[str], int, list[str]]] = [
    (["generate", "x", "-m", "nope"], 4, ["mlxforge: no model 'nope'; there are: fake", "models`"]),
    (["generate", "x", "-t", "-1", "--top-p", "2"], 2, ["sampling_params.temperature", "top_p"]),
    (["generate", ""], 2, ["chat.messages[0].content must not be empty"]),
    (["generate", "x", "--raw", "-s", "y"], 2, ["leave --raw out"]),
    (["generate", "x", "--regex", "a", "--json-schema", "b"], 2, ["give one of"]),
    (["generate"], 2, ["PROMPT"]),
    (["nonsense"], 2, ["nonsense"]),
]


@pytest.mark.parametrize(("arguments", "code", "said"), FAILURES)
async def test_failures(arguments: list[str], code: int, said: list[str], start: Start) -> None:
    client = await start()
    if arguments != ["nonsense"]:
        arguments = [*arguments, "-a", client.address]
    result = await mlxforge(*arguments)
    assert result.code == code, result
    assert all(text in result.err for text in said), result.err
    assert "Traceback" not in result.err and not result.out


async def test_failures_of_the_connection(start: Start) -> None:
    client = await start(FakeEngine(script=HANG))
    loading = await start(load=False)
    nobody, slow, early, as_json = await asyncio.gather(
        mlxforge("models", "-a", "127.0.0.1:1"),
        mlxforge("generate", "x", "--timeout", "0.3", "-a", client.address),
        mlxforge("generate", "x", "--raw", "-a", loading.address),
        mlxforge("generate", "x", "--raw", "--json", "-n", "0", "-a", client.address),
    )
    assert nobody.code == 3
    assert "no server answers at 127.0.0.1:1" in nobody.err and "mlxforge serve" in nobody.err
    assert slow.code == 5 and "--timeout" in slow.err
    assert early.code == 3 and "try again" in early.err
    assert as_json.code == 2


async def test_errors_as_json(start: Start) -> None:
    client = await start()
    result = await mlxforge("generate", "x", "--json", "-t", "-1", "-a", client.address)
    error = json.loads(result.err)["error"]
    assert result.code == error["exit_code"] == 2
    assert (error["status"], error["reason"]) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert error["field_violations"][0]["field"] == "sampling_params.temperature"


async def test_ctrl_c_cancels_the_request(start: Start) -> None:
    client = await start(FakeEngine(script=Script(word_seconds=0.05)))
    process = await spawn("generate", "--raw", "a b", "-n", "1000", "-a", client.address)
    assert process.stdout is not None
    await process.stdout.read(2)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130 and b"Traceback" not in err
    await until(lambda: client.engine.live == 0, 2.0)


SERVE_FAILURES: list[tuple[list[str], int, str]] = [
    (["--set", "engine.max_running_request=1"], 2, "did you mean 'engine.max_running_requests'?"),
    (["-a", "0.0.0.0:0"], 2, "--allow-insecure-bind"),
    (["--config", "/nonexistent.toml"], 2, "cannot read /nonexistent.toml"),
    (["-a", "127.0.0.1:0", "/nonexistent/model"], 4, "/nonexistent/model"),
    (["x/a", "y/a"], 2, "two models with the id 'a'"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), SERVE_FAILURES)
async def test_serve_refuses(arguments: list[str], code: int, said: str) -> None:
    result = await mlxforge("serve", *arguments)
    assert result.code == code, result
    assert said in result.err and "Traceback" not in result.err


async def test_a_port_that_is_taken(start: Start) -> None:
    client = await start()
    result = await mlxforge("serve", "/nonexistent/model", "-a", client.address)
    assert result.code == 2
    assert f"cannot listen on {client.address}" in result.err and "--address" in result.err


def test_help_teaches_by_example() -> None:
    runner = CliRunner()
    overview = runner.invoke(app, ["--help"])
    assert "Exit codes" in overview.output and "mlxforge serve" in overview.output
    for command in COMMANDS:
        name = command.info.name if isinstance(command, typer.Typer) else command.__name__
        assert isinstance(name, str)
        page = runner.invoke(app, [name, "-h"])
        assert page.exit_code == 0
        assert "Example" in page.output and f"mlxforge {name}" in page.output
        assert name in overview.output
    assert runner.invoke(app, ["--version"]).output.startswith("mlxforge ")


def test_printing() -> None:
    assert [size(n) for n in (0, 999, 1500, 98_000_000, 10**15)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "98 MB",
        "1000 TB",
    ]
    rows: Any = [["A", "BB"], ["ccc", ""]]
    assert table(rows) == "A    BB\nccc"


@pytest.mark.slow
async def test_without_a_server() -> None:
    result = await mlxforge(
        "generate", "--embedded", "-t", "0", "-n", "16", "What is the capital of France?"
    )
    assert (result.code, result.err) == (0, "")
    assert "Paris" in result.out


@pytest.mark.slow
async def test_serve_and_ask() -> None:
    """What the README promises, with the real model."""
    server = await spawn("serve", "smollm2-135m-instruct", "-a", "127.0.0.1:0", "--json")
    try:
        events = {}
        async with asyncio.timeout(120):
            assert server.stdout is not None
            while "ready" not in events:
                event = json.loads(await server.stdout.readline())
                events[event["event"]] = event
        assert events["ready"]["models"] == ["smollm2-135m-instruct"]
        [address] = events["listening"]["addresses"]
        question = "What is the capital of France?"
        result = await mlxforge("generate", question, "-t", "0", "-n", "16", "-a", address)
        assert (result.code, result.err) == (0, "") and "Paris" in result.out
        server.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            _, err = await server.communicate()
        assert server.returncode == 0 and b"Traceback" not in err
        assert b"status=OK" in err and b"France" not in err
    finally:
        if server.returncode is None:
            server.kill()
            await server.communicate()


async def test_chat_in_a_terminal(start: Start) -> None:
    client = await start(FakeEngine(script=Script(word_seconds=0.05)))
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "mlxforge.service.cli", "chat", "-a", client.address),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = ""

    async def read_until(text: str) -> None:
        nonlocal seen
        async with asyncio.timeout(30):
            while text not in seen:
                seen += (await asyncio.to_thread(os.read, ours, 4096)).decode()
        seen = seen.partition(text)[2]

    try:
        await read_until("> ")
        os.write(ours, b"/help\n")
        await read_until("/reset")
        await read_until("> ")
        os.write(ours, b"ping pong\n")
        await read_until("\n")
        await read_until("ping pong ping")
        process.send_signal(signal.SIGINT)
        await read_until("> ")
        await until(lambda: client.engine.live == 0, 2.0)
        os.write(ours, b"more\n")
        await read_until("\n")
        await read_until("more more")
        await read_until("> ")
        os.write(ours, b"/exit\n")
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
    assert contents(generated(client)[-1]) == ["more"]


async def test_serving_leaves_what_is_imported_to_no_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen: list[int] = []

    async def run(*_: object) -> None:
        frozen.append(gc.get_freeze_count())

    serve = importlib.import_module("mlxforge.service.cli.serve")
    monkeypatch.setattr(serve, "run_server", run)
    try:
        await serve._serve(Settings(), as_json=True)
    finally:
        gc.unfreeze()
    assert frozen[0] > 10_000
