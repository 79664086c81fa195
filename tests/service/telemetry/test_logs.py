"""The log: for people and for programs; who chose a request's id; what is never in it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import grpc
import pytest

from mlxforge.service.server.metadata import REQUEST_ID, identity_of
from mlxforge.service.telemetry.logs import JsonFormatter
from mlxforge.v1 import chat_pb2, embedding_pb2, generation_pb2

from ..fakes import FakeEngine, Script
from ..serving import details_of, status_of_rpc
from .conftest import Watch

Request = generation_pb2.GenerateRequest


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a server would write to stderr, in JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("mlxforge")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def requests_in(stream: io.StringIO) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in lines if line["logger"] == "mlxforge.service.requests"]


async def test_a_line_of_json(watch: Watch, written: io.StringIO) -> None:
    server = await watch()
    answer = await server.generation.Generate(Request(prompt="hush hush", max_tokens=3))
    [line] = requests_in(written)
    assert line["message"] == "request" and line["level"] == "info"
    assert line["request_id"] == answer.id
    assert line["model"] == "fake" and line["status"] == "OK" and line["finish"] == "length"
    assert line["prompt_tokens"] == 2 and line["completion_tokens"] == 3
    assert isinstance(line["total_s"], float)
    assert str(line["time"]).endswith("Z")
    assert "hush" not in written.getvalue()


def test_faults_carry_their_traceback() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("mlxforge.x", logging.ERROR, "", 0, "it %s", ("failed",), info)
    formatted = JsonFormatter().format(record)
    assert "\n" not in formatted
    line = json.loads(formatted)
    assert line["message"] == "it failed" and "two\nlines" in line["exception"]


async def test_prompts_only_when_asked(watch: Watch, written: io.StringIO) -> None:
    server = await watch(log_prompts=True)
    message = chat_pb2.Message(role="user", content='of "a\n chat')
    await asyncio.gather(
        server.generation.Generate(Request(prompt="p" * 5000, max_tokens=1)),
        server.generation.Generate(
            Request(prompt_token_ids=generation_pb2.TokenIds(ids=[1, 2]), max_tokens=1)
        ),
        server.generation.Generate(Request(chat=chat_pb2.Chat(messages=[message]), max_tokens=1)),
    )
    prompts = [line.get("prompt") for line in requests_in(written)]
    assert "p" * 2000 in prompts
    assert 'of "a\n chat' in prompts
    assert "[1, 2]" in prompts


async def test_a_prompt_cannot_forge_a_line(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mlxforge.service.requests")
    server = await watch(log_prompts=True)
    await server.generation.Generate(Request(prompt="x\n2026 INFO request y status=OK"))
    [record] = [r for r in caplog.records if r.name == "mlxforge.service.requests"]
    assert "\n" not in record.getMessage()


async def test_the_callers_request_id(watch: Watch, written: io.StringIO) -> None:
    server = await watch()
    chosen = "abc-123.x:y/z"
    call = server.generation.Generate(
        Request(prompt="a", max_tokens=1), metadata=((REQUEST_ID, chosen),)
    )
    answer = await call
    assert answer.id == chosen
    assert dict(await call.trailing_metadata())[REQUEST_ID] == chosen
    [line] = requests_in(written)
    assert line["request_id"] == chosen
    [request] = server.engine.requests
    assert request.request_id.startswith("req_"), "two callers may choose the same"

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.generation.Generate(Request(prompt="a", n=0), metadata=((REQUEST_ID, chosen),))
    details = details_of(status_of_rpc(caught.value))
    assert details["ErrorInfo"].metadata["request_id"] == chosen
    trailing = caught.value.trailing_metadata()
    assert trailing is not None and dict(trailing)[REQUEST_ID] == chosen


async def test_the_same_id_twice_at_once(watch: Watch) -> None:
    server = await watch(FakeEngine(script=Script(word_seconds=0.01)))
    answers = await asyncio.gather(
        *(
            server.generation.Generate(Request(prompt="a"), metadata=((REQUEST_ID, "same"),))
            for _ in range(3)
        )
    )
    assert [answer.id for answer in answers] == ["same"] * 3
    assert len({request.request_id for request in server.engine.requests}) == 3


async def test_an_id_that_is_none(watch: Watch) -> None:
    server = await watch()
    for bad in ("", "a b", "x" * 129, "-a", 'a"b'):
        call = server.generation.Generate(
            Request(prompt="a", max_tokens=1), metadata=((REQUEST_ID, bad),)
        )
        answer = await call
        assert answer.id.startswith("req_"), bad
        assert dict(await call.trailing_metadata())[REQUEST_ID] == answer.id
    for never_sent_by_grpc in ("é", "a\nb", "a\x00"):
        assert identity_of(((REQUEST_ID, never_sent_by_grpc),)) == {}


async def test_embeddings_have_ids_too(watch: Watch) -> None:
    server = await watch(FakeEngine.embedder())
    call = server.embedding.Embed(
        embedding_pb2.EmbedRequest(inputs=[embedding_pb2.EmbedInput(text="t")]),
        metadata=((REQUEST_ID, "e1"),),
    )
    assert (await call).id == "e1"


async def test_one_line_and_no_more(watch: Watch, written: io.StringIO) -> None:
    server = await watch(FakeEngine(script=Script(fail_at_word=1)))
    with pytest.raises(grpc.aio.AioRpcError):
        await server.generation.Generate(Request(prompt="a"))
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    errors = [line for line in lines if line["level"] == "error"]
    by_logger = [line["logger"] for line in errors]
    assert by_logger.count("mlxforge.service.requests") == 1
    assert by_logger.count("mlxforge.service.errors") == 1, "the traceback"
