"""The table of errors: codes, details, and what must not leak."""

from __future__ import annotations

import asyncio
import logging

import grpc
import pytest
from google.rpc import code_pb2

from mlxforge.engine.errors import (
    Cancelled,
    EngineError,
    FieldViolation,
    InternalError,
    InvalidRequest,
    ResourceExhausted,
    Unavailable,
)
from mlxforge.service.errors import engine_error, status_of
from mlxforge.v1 import generation_pb2

from .fakes import FakeEngine, Script, all_errors
from .serving import Start, details_of, status_of_rpc

EXPECTED = {
    "EngineError": "INTERNAL",
    "InvalidRequest": "INVALID_ARGUMENT",
    "ModelNotFound": "NOT_FOUND",
    "Unsupported": "FAILED_PRECONDITION",
    "Unauthenticated": "UNAUTHENTICATED",
    "PermissionDenied": "PERMISSION_DENIED",
    "ResourceExhausted": "RESOURCE_EXHAUSTED",
    "DeadlineExceeded": "DEADLINE_EXCEEDED",
    "Cancelled": "CANCELLED",
    "Unavailable": "UNAVAILABLE",
    "InternalError": "INTERNAL",
    "LoadError": "FAILED_PRECONDITION",
    "Unimplemented": "UNIMPLEMENTED",
}


def test_the_table_has_every_error_of_the_tree() -> None:
    assert {type(error).__name__ for error in all_errors()} == set(EXPECTED)


@pytest.mark.parametrize("error", all_errors(), ids=lambda e: type(e).__name__)
async def test_every_error_reaches_a_client_with_its_details(
    error: EngineError, start: Start
) -> None:
    client = await start(FakeEngine(script=Script(fail_at_word=1, fail_with=error)))
    request = generation_pb2.GenerateRequest(prompt="a b c")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generation.Generate(request)
    expected = EXPECTED[type(error).__name__]
    assert caught.value.code().name == expected
    assert caught.value.details() == error.message
    status = status_of_rpc(caught.value)
    assert status.code == code_pb2.Code.Value(expected)
    assert status.message == error.message
    details = details_of(status)
    info = details.pop("ErrorInfo")
    assert (info.domain, info.reason) == ("mlxforge", error.reason)
    assert info.metadata["request_id"].startswith("req_")
    if isinstance(error, InvalidRequest):
        [violation] = details.pop("BadRequest").field_violations
        assert (violation.field, violation.description) == ("prompt", "is bad")
    if isinstance(error, (ResourceExhausted, Unavailable)):
        assert details.pop("RetryInfo").retry_delay.seconds == 1
    assert not details
    assert client.engine.live == 0


async def test_errors_come_after_the_tokens_before_them(start: Start) -> None:
    script = Script(fail_at_word=2, fail_with=Unavailable("worker died", reason="WORKER_DIED"))
    client = await start(FakeEngine(script=script))
    texts: list[str] = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for response in client.generation.StreamGenerate(
            generation_pb2.GenerateRequest(prompt="a b c")
        ):
            texts.append(response.delta.text)
    assert "".join(texts) == "a b "
    assert details_of(status_of_rpc(caught.value))["ErrorInfo"].reason == "WORKER_DIED"


async def test_unknown_exceptions_leak_nothing_and_are_logged(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    client = await start(FakeEngine(script=Script(fail_at_word=0)))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generation.Generate(generation_pb2.GenerateRequest(prompt="a"))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    status = status_of_rpc(caught.value)
    assert "secret" not in str(status)
    request_id = details_of(status)["ErrorInfo"].metadata["request_id"]
    assert request_id in status.message
    [record] = [r for r in caplog.records if r.exc_info]
    assert request_id in record.getMessage()
    assert record.exc_info is not None and "secret" in str(record.exc_info[1])


@pytest.mark.parametrize("char", ["x", "%", "é", "漢", "😀"])
async def test_answers_stay_below_the_metadata_limit(char: str, start: Start) -> None:
    """Clients drop metadata beyond 8 KiB, and with it the status."""
    violations = [FieldViolation(f"stop[{i}]", char * 1000) for i in range(1000)]
    script = Script(fail_at_word=0, fail_with=InvalidRequest(*violations))
    client = await start(FakeEngine(script=script))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generation.Generate(generation_pb2.GenerateRequest(prompt="a"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(details_of(status_of_rpc(caught.value))["BadRequest"].field_violations) >= 4
    details = caught.value.details() or ""
    assert details.startswith("stop[0]: ") and details.endswith("…")


def test_retry_info_only_where_a_retry_helps() -> None:
    never = status_of(ResourceExhausted("too large", retry_after=None))
    assert "RetryInfo" not in details_of(never)
    soon = details_of(status_of(Unavailable("restarting", retry_after=0.25)))["RetryInfo"]
    assert soon.retry_delay.ToMilliseconds() == 250


def test_cancellation_is_cancelled_and_logged_by_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert isinstance(engine_error(asyncio.CancelledError(), "req_1"), Cancelled)
        assert isinstance(engine_error(ValueError("x"), "req_1"), InternalError)
    assert len(caplog.records) == 1
