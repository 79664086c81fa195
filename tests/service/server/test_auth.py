"""Fault 33: missing and odd tokens on every RPC, and what a good one allows."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from typing import Any

import grpc
import pytest

from mlxforge.engine.request import GenerationRequest
from mlxforge.service.api import Api
from mlxforge.service.registry import Registry
from mlxforge.service.security import AuthSettings
from mlxforge.service.server.auth import _OPEN_TO_ALL
from mlxforge.v1 import generation_pb2, model_pb2

from ..fakes import FakeEngine, Script
from ..raw_calls import stream_stream, unary_stream, unary_unary
from ..serving import Client, Start, details_of, status_of_rpc

Request = generation_pb2.GenerateRequest
TOKEN, ADMIN = "alice-0123456789", "admin-0123456789"
METHODS = Api(Registry()).methods
HEALTH = [
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.health.v1.Health/List",
]
REFLECTION = [
    f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    for version in ("v1", "v1alpha")
]
UNKNOWN = [
    "mlxforge.v1.GenerationService/generate",
    "mlxforge.v1.GenerationService/Generate/",
    "mlxforge.v1.Other/Do",
    "grpc.health.v1/Check",
    "grpc.channelz.v1.Channelz/GetServers",
]
GUARDED = [*METHODS, *REFLECTION, *UNKNOWN]

ODD: dict[str, list[tuple[str, str | bytes]]] = {
    "nothing": [],
    "empty": [("authorization", "")],
    "no scheme": [("authorization", TOKEN)],
    "no token": [("authorization", "Bearer ")],
    "two spaces": [("authorization", f"Bearer  {TOKEN}")],
    "trailing words": [("authorization", f"Bearer {TOKEN} x")],
    "another scheme": [("authorization", f"Basic {TOKEN}")],
    "quoted": [("authorization", f'Bearer "{TOKEN}"')],
    "prefix": [("authorization", f"Bearer {TOKEN[:-1]}")],
    "longer": [("authorization", f"Bearer {TOKEN}0")],
    "other case": [("authorization", f"Bearer {TOKEN.upper()}")],
    "its name": [("authorization", "Bearer alice")],
    "twice": [("authorization", f"Bearer {TOKEN}")] * 2,
    "two": [("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {ADMIN}")],
    "list": [("authorization", f"Bearer {TOKEN}, Bearer {TOKEN}")],
    "binary": [("authorization-bin", f"Bearer {TOKEN}".encode())],
    "other header": [("x-authorization", f"Bearer {TOKEN}"), ("token", TOKEN)],
    "long": [("authorization", "Bearer " + "a" * 6000)],
    "wildcard": [("authorization", "Bearer *")],
}


def bearer(token: str) -> list[tuple[str, str | bytes]]:
    return [("authorization", f"Bearer {token}")]


def guarded(**fields: Any) -> AuthSettings:
    return AuthSettings(tokens=(f"alice:{TOKEN}",), **fields)


async def raw(client: Client, method: str, metadata: list[tuple[str, str | bytes]]) -> str:
    """The code that a call without any message ends with."""
    call = stream_stream(client.channel, f"/{method}")(metadata=metadata, timeout=5)
    with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        await call.done_writing()  # it may have ended already
    return (await call.code()).name


async def test_odd_tokens_on_every_rpc(start: Start) -> None:
    """Refused before a message is sent: nothing is read of a call that may not be made."""
    client = await start(auth=guarded(exempt=()))
    tried = 0
    for method in [*GUARDED, *HEALTH]:
        for name, metadata in ODD.items():
            call = stream_stream(client.channel, f"/{method}")(metadata=metadata, timeout=5)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in call:
                    pass
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED, (method, name)
            info = details_of(status_of_rpc(caught.value))["ErrorInfo"]
            assert info.domain == "mlxforge" and info.metadata["request_id"]
            assert info.reason in ("TOKEN_MISSING", "TOKEN_MALFORMED", "TOKEN_UNKNOWN")
            assert TOKEN not in str(caught.value.details())
            tried += 1
    assert tried == (len(METHODS) + len(REFLECTION) + len(UNKNOWN) + 3) * len(ODD)
    assert client.engine.started == 0


async def test_what_is_exempt_needs_no_token(start: Start) -> None:
    by_default = await start(auth=guarded())
    check = unary_unary(by_default.channel, f"/{HEALTH[0]}")
    assert await check(b"", timeout=5)
    for method in REFLECTION:
        assert await raw(by_default, method, []) == "UNAUTHENTICATED"
        assert await raw(by_default, method, bearer(TOKEN)) == "OK"
    both = await start(auth=guarded(exempt=("health", "reflection")))
    for method in GUARDED:
        expected = "OK" if method in REFLECTION else "UNAUTHENTICATED"
        assert await raw(both, method, []) == expected, method


async def test_a_token_opens_what_exists(start: Start) -> None:
    client = await start(auth=guarded())
    for scheme in ("Bearer", "bearer", "BEARER"):
        metadata = [("authorization", f"{scheme} {TOKEN}")]
        answer = await client.generation.Generate(Request(prompt="a"), metadata=metadata)
        assert answer.choices[0].text
    for method in UNKNOWN:
        # Who is no admin is not even told what there is.
        assert await raw(client, method, bearer(TOKEN)) == "PERMISSION_DENIED"


def test_new_rpcs_are_closed_until_named() -> None:
    """All but these may be called with any token: adding one here is a decision."""
    assert METHODS.keys() - _OPEN_TO_ALL == {
        "mlxforge.v1.ModelService/LoadModel",
        "mlxforge.v1.ModelService/UnloadModel",
    }
    assert not _OPEN_TO_ALL - METHODS.keys()


@pytest.fixture
def token_file(tmp_path: Any) -> AuthSettings:
    path = tmp_path / "tokens.toml"
    path.touch(mode=0o600)
    path.write_text(
        f'[alice]\ntoken = "{TOKEN}"\nmodels = ["other"]\n[ops]\ntoken = "{ADMIN}"\nadmin = true'
    )
    return AuthSettings(str(path))


async def test_loading_and_unloading_are_for_admins(start: Start, token_file: AuthSettings) -> None:
    client = await start(auth=token_file)
    for method in ("LoadModel", "UnloadModel"):
        name = f"mlxforge.v1.ModelService/{method}"
        call = stream_stream(client.channel, f"/{name}")(metadata=bearer(TOKEN), timeout=5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pass
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert details_of(status_of_rpc(caught.value))["ErrorInfo"].reason == "ADMIN_ONLY"
        allowed = unary_stream(client.channel, f"/{name}")(b"", metadata=bearer(ADMIN), timeout=5)
        assert await allowed.code() is not grpc.StatusCode.PERMISSION_DENIED
    for method in UNKNOWN:
        assert await raw(client, method, bearer(ADMIN)) == "UNIMPLEMENTED"


async def test_models_of_a_token(start: Start, token_file: AuthSettings) -> None:
    client = await start(auth=token_file)
    for call in (
        client.generation.Generate(Request(prompt="a"), metadata=bearer(TOKEN)),
        client.models.GetModel(model_pb2.GetModelRequest(model="fake"), metadata=bearer(TOKEN)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        info = details_of(status_of_rpc(caught.value))["ErrorInfo"]
        assert info.reason == "MODEL_NOT_ALLOWED"
    assert client.engine.started == 0
    await client.generation.Generate(Request(prompt="a"), metadata=bearer(ADMIN))


async def test_the_log_says_who_and_repeats_nothing_of_strangers(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    client = await start(auth=guarded())
    with caplog.at_level(logging.INFO):
        await client.generation.Generate(Request(prompt="a"), metadata=bearer(TOKEN))
        await raw(client, "mlxforge.v1.Hello/World", bearer("guessed-password"))
        await raw(client, "mlxforge.v1.GenerationService/Generate", [])
    lines = [r.getMessage() for r in caplog.records if "request" in r.name]
    assert len(lines) == 3 and "principal=alice" in lines[0]
    assert re.search(r"method=another RPC status=UNAUTHENTICATED reason=TOKEN_UNKNOWN", lines[1])
    assert "method=GenerationService/Generate status=UNAUTHENTICATED" in lines[2]
    for secret in (TOKEN, "guessed", "Hello"):
        assert not any(secret in line for line in lines)


@pytest.mark.parametrize("share", [False, True])
async def test_cached_prefixes_belong_to_a_bearer(start: Start, share: bool) -> None:
    """CVE-2025-46570: a hit's speed would tell one bearer what another asked."""
    auth = AuthSettings(tokens=(f"a:{TOKEN}", f"b:{ADMIN}"), share_prefixes=share)
    client = await start(auth=auth)
    salts: list[str] = []
    for token, salt in [(TOKEN, ""), (TOKEN, ""), (ADMIN, ""), (TOKEN, "s"), (ADMIN, "s")]:
        request = Request(prompt="a", cache_salt=salt)
        await client.generation.Generate(request, metadata=bearer(token))
        made = client.engine.requests[-1]
        assert isinstance(made, GenerationRequest)
        salts.append(made.cache_salt)
    assert salts[0] == salts[1]
    if share:
        assert salts == ["", "", "", "s", "s"]
    else:
        assert len(set(salts)) == 4 and all(len(salt) == 64 for salt in salts)
    with pytest.raises(grpc.aio.AioRpcError, match="cache_salt: must have at most 128"):
        request = Request(prompt="a", cache_salt="x" * 129)
        await client.generation.Generate(request, metadata=bearer(TOKEN))


async def test_calls_of_two_bearers_at_once_keep_their_names(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    auth = AuthSettings(tokens=(f"a:{TOKEN}", f"b:{ADMIN}"))
    client = await start(FakeEngine(script=Script(word_seconds=0.002)), auth=auth)
    with caplog.at_level(logging.INFO, "mlxforge.service.requests"):
        calls = [
            client.generation.Generate(
                Request(prompt="x", max_tokens=1 + i % 2), metadata=bearer((TOKEN, ADMIN)[i % 2])
            )
            for i in range(60)
        ]
        await asyncio.gather(*calls)
    lines = [record.getMessage() for record in caplog.records]
    assert sum("principal=a " in x and "completion_tokens=1" in x for x in lines) == 30
    assert sum("principal=b " in x and "completion_tokens=2" in x for x in lines) == 30
