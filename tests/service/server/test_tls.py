"""TLS: who gets in, and that new certificates are taken without a connection dropped."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from mlxforge.service.config import ConfigError
from mlxforge.service.security import TlsSettings
from mlxforge.service.server.tls import Tls, peer_name
from mlxforge.v1 import generation_pb2, generation_pb2_grpc

from ..fakes import FakeEngine, Script
from ..serving import Start
from .certificates import DAY, Authority, Pair

Request = generation_pb2.GenerateRequest


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def settings(folder: Path, pair: Pair, client_ca: bytes | None = None) -> TlsSettings:
    certificate, key = pair.write(folder)
    if client_ca is None:
        return TlsSettings(str(certificate), str(key))
    (folder / "clients.pem").write_bytes(client_ca)
    return TlsSettings(str(certificate), str(key), str(folder / "clients.pem"))


def channel(address: str, ca: bytes, identity: Pair | None = None) -> grpc.aio.Channel:
    key, chain = (identity.key, identity.certificate) if identity else (None, None)
    credentials = grpc.ssl_channel_credentials(ca, key, chain)
    # A subchannel of another channel with the same arguments would be shared.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    return grpc.aio.secure_channel(address, credentials, options=options)


async def asked(connection: grpc.aio.Channel) -> str:
    """What the server answers on a connection; the name of its code when it refuses."""
    stub = generation_pb2_grpc.GenerationServiceStub(connection)
    try:
        response = await stub.Generate(Request(prompt="a b", max_tokens=2), timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return str(response.choices[0].text)


async def test_only_tls_gets_in(start: Start, tmp_path: Path, authority: Authority) -> None:
    server = await start(load=True, tls=settings(tmp_path, authority.issue()))
    async with channel(server.address, authority.pem) as trusting:
        assert await asked(trusting) == "a b"
    assert await asked(server.channel) == "UNAVAILABLE"  # in plain text
    async with channel(server.address, Authority().pem) as trusting_another:
        assert await asked(trusting_another) == "UNAVAILABLE"


async def test_mutual_tls_names_the_caller(
    start: Start, tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start(tls=settings(tmp_path, authority.issue(), client_ca=authority.pem))
    with caplog.at_level(logging.INFO, "mlxforge.service.requests"):
        async with channel(server.address, authority.pem, authority.issue("billing")) as known:
            assert await asked(known) == "a b"
    assert any("principal=billing" in record.getMessage() for record in caplog.records)
    async with channel(server.address, authority.pem) as nameless:
        assert await asked(nameless) == "UNAVAILABLE"
    stranger = Authority("another").issue("billing")
    async with channel(server.address, authority.pem, stranger) as forged:
        assert await asked(forged) == "UNAVAILABLE"
    late = authority.issue("billing", starts=-2 * DAY, ends=-DAY)
    async with channel(server.address, authority.pem, late) as expired:
        assert await asked(expired) == "UNAVAILABLE"


async def test_new_certificates_are_taken_and_streams_go_on(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = Authority("old"), Authority("new")
    script = Script(hold_at_word=2)
    server = await start(FakeEngine(script=script), tls=settings(tmp_path, old.issue()))
    async with channel(server.address, old.pem) as before:
        stub = generation_pb2_grpc.GenerationServiceStub(before)
        stream = aiter(stub.StreamGenerate(Request(prompt="a b c", max_tokens=3)))
        assert (await anext(stream)).delta.text == "a "

        with caplog.at_level(logging.INFO, "mlxforge.service.server"):
            # The certificate is there and its key not yet.
            (tmp_path / "server.pem").write_bytes((pair := new.issue()).certificate)
            for _ in range(2):
                async with channel(server.address, old.pem) as meanwhile:
                    assert await asked(meanwhile) == "a b"
            [complaint] = caplog.records
            assert complaint.levelno == logging.ERROR
            assert "the old ones stay in use" in complaint.getMessage()
            assert "is not the key of" in complaint.getMessage()

            pair.write(tmp_path)
            for _ in range(20):  # over all servers on the port
                async with channel(server.address, new.pem) as after:
                    assert await asked(after) == "a b"
            assert "read again" in caplog.records[-1].getMessage()
        async with channel(server.address, old.pem) as stale:
            assert await asked(stale) == "UNAVAILABLE"

        script.released.set()
        rest = [response.delta.text async for response in stream]
        assert "".join(rest) == "b c"
        assert await asked(before) == "a b"


async def test_damaged_files_change_nothing(
    start: Start, tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start(tls=settings(tmp_path, authority.issue()))
    damages: list[tuple[Callable[[], object], str]] = [
        (lambda: (tmp_path / "server.pem").write_bytes(b"rubbish"), "holds no certificate"),
        (lambda: (tmp_path / "server.pem").unlink(), "cannot read"),
        (lambda: authority.issue(ends=-timedelta(hours=1)).write(tmp_path), "expired"),
    ]
    for damage, complaint in damages:
        authority.issue().write(tmp_path)
        caplog.clear()
        damage()
        async with channel(server.address, authority.pem) as connection:
            assert await asked(connection) == "a b"
        assert complaint in caplog.records[-1].getMessage()
    authority.issue().write(tmp_path)
    async with channel(server.address, authority.pem) as connection:
        assert await asked(connection) == "a b"


def shakes_hands(address: str, ca: bytes, version: ssl.TLSVersion) -> bool:
    """Whether the server speaks that version."""
    context = ssl.create_default_context(cadata=ca.decode())
    context.set_alpn_protocols(["h2"])
    context.set_ciphers("ALL:@SECLEVEL=0")  # else this side would not offer the old ones
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        try:
            with context.wrap_socket(connection, server_hostname="localhost") as secured:
                return secured.version() is not None
        except ssl.SSLError:
            return False


async def test_old_versions_are_refused(start: Start, tmp_path: Path, authority: Authority) -> None:
    server = await start(tls=settings(tmp_path, authority.issue()))
    spoken = [
        version.name
        for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        if await asyncio.to_thread(shakes_hands, server.address, authority.pem, version)
    ]
    assert spoken == ["TLSv1_2", "TLSv1_3"]


WRONG: list[tuple[Callable[[Authority], Pair], str]] = [
    (lambda a: a.issue(starts=-2 * DAY, ends=-DAY), r"server\.pem: the certificate expired"),
    (lambda a: a.issue(starts=DAY, ends=2 * DAY), r"server\.pem: .* is not valid before"),
    (lambda a: Pair(a.issue().certificate, a.issue().key), "is not the key of the certificate"),
    (lambda a: a.issue(passphrase=b"x"), r"server\.key: the key has a passphrase"),
    (lambda a: Pair(b"", a.issue().key), r"server\.pem holds no certificate in PEM form"),
    (lambda a: Pair(a.issue().key, a.issue().key), r"server\.pem holds no certificate"),
    (lambda a: Pair(a.issue().certificate, b""), r"server\.key holds no private key in PEM form"),
    (lambda a: Pair(a.issue().certificate, b"\0" * 99), r"server\.key holds no private key"),
]


@pytest.mark.parametrize(("pair", "message"), WRONG, ids=[m for _, m in WRONG])
def test_bad_files_are_named(
    pair: Callable[[Authority], Pair], message: str, tmp_path: Path, authority: Authority
) -> None:
    with pytest.raises(ConfigError, match=message):
        Tls(settings(tmp_path, pair(authority)))


def test_files_that_cannot_be_used(tmp_path: Path, authority: Authority) -> None:
    good = settings(tmp_path, authority.issue(), client_ca=b"rubbish")
    with pytest.raises(ConfigError, match=r"clients\.pem holds no certificate"):
        Tls(good)
    (tmp_path / "clients.pem").write_bytes(authority.pem)
    Tls(good)
    (tmp_path / "server.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"server\.key holds secrets .* chmod 600"):
        Tls(good)
    (tmp_path / "server.key").unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*server\.key: No such file"):
        Tls(good)


def test_names_of_peers() -> None:
    """They go into logs: no line breaks, no pages of text."""
    assert peer_name({}) == ""
    assert peer_name({"x509_subject_alternative_name": [b"", b"b.example"]}) == "b.example"
    assert peer_name({"x509_common_name": [b"a\nb\xff"], "other": [b"x"]}) == "a?b\ufffd"
    assert len(peer_name({"x509_common_name": [b"a" * 10_000]})) == 128
