"""One line for each call, with counts and status and none of the text."""

from __future__ import annotations

import asyncio
import logging

import grpc
import pytest
from google.rpc import code_pb2

from mlxforge.service.api.context import CallContext
from mlxforge.service.api.observer import CallEnd
from mlxforge.v1 import generation_pb2, model_pb2

from .fakes import FakeEngine, Script
from .serving import Start

Request = generation_pb2.GenerateRequest
LOGGER = "mlxforge.service.requests"


def lines_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == LOGGER]


def words(record: logging.LogRecord) -> dict[str, str]:
    _, request_id, *pairs = record.getMessage().split()
    return {"id": request_id, **dict(pair.split("=", 1) for pair in pairs)}


async def test_a_generation(caplog: pytest.LogCaptureFixture, start: Start) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    client = await start()
    response = await client.generation.Generate(Request(prompt="hush hush", n=2, max_tokens=3))
    [record] = lines_of(caplog)
    line = words(record)
    assert line["id"] == response.id
    assert (line["method"], line["model"]) == ("GenerationService/Generate", "fake")
    assert (line["status"], line["finish"]) == ("OK", "length")
    assert (line["prompt_tokens"], line["completion_tokens"]) == ("2", "6")
    assert float(line["total_s"]) >= float(line["first_token_s"])
    assert "hush" not in record.getMessage()


async def test_ends_of_all_kinds(caplog: pytest.LogCaptureFixture, start: Start) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    client = await start(FakeEngine(script=Script(word_seconds=0.05, fail_at_word=6)))
    calls = [
        client.models.ListModels(model_pb2.ListModelsRequest()),
        client.generation.Generate(Request(prompt="a", n=0)),
        client.generation.Generate(Request(prompt="a", model="x" * 1000)),
        client.generation.Generate(Request(prompt="a"), timeout=0.2),
        client.generation.Generate(Request(prompt="a")),
    ]
    for call in calls:
        try:
            await call
        except grpc.aio.AioRpcError:
            continue
    cancelled = client.generation.StreamGenerate(Request(prompt="a"))
    await cancelled.read()
    cancelled.cancel()
    await client.server.drain(5.0)
    with pytest.raises(grpc.aio.AioRpcError):
        await client.generation.Generate(Request(prompt="a"))
    records = lines_of(caplog)
    assert sorted(words(record)["status"] for record in records) == sorted(
        [
            "OK",
            "INVALID_ARGUMENT",
            "NOT_FOUND",
            "DEADLINE_EXCEEDED",
            "INTERNAL",
            "CANCELLED",
            "UNAVAILABLE",
        ]
    )
    assert all(len(record.getMessage()) < 400 for record in records)
    by_status = {words(record)["status"]: words(record) for record in records}
    assert by_status["INVALID_ARGUMENT"]["reason"] == "INVALID_REQUEST"
    assert int(by_status["CANCELLED"]["completion_tokens"]) >= 1
    assert "model" not in by_status["NOT_FOUND"], "a client's text is no log field"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (None, code_pb2.CANCELLED),
        (5.0, code_pb2.CANCELLED),
        (0.01, code_pb2.DEADLINE_EXCEEDED),  # the client's clock started before ours
        (-1.0, code_pb2.DEADLINE_EXCEEDED),
    ],
)
def test_a_client_that_leaves_at_its_deadline_says_cancel(
    seconds: float | None, code: code_pb2.Code
) -> None:
    end = CallEnd("a/B", CallContext.with_timeout(seconds), 1.0, asyncio.CancelledError())
    assert end.code == code
