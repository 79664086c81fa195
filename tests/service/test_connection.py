"""The command line against servers with TLS and tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxforge.service.security import AuthSettings, TlsSettings

from .server.certificates import Authority
from .serving import Start
from .test_cli import mlxforge

TOKEN = "alice-0123456789"


async def test_tls_tokens_and_mutual_tls(start: Start, tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    certificate, key = authority.issue().write(tmp_path)
    tls = TlsSettings(str(certificate), str(key), str(tmp_path / "ca.pem"))
    server = await start(tls=tls, auth=AuthSettings(tokens=(f"alice:{TOKEN}",)))
    mine, my_key = authority.issue("me").write(tmp_path, "me")
    identity = ["--certificate", str(mine), "--key", str(my_key)]
    trusting = ["--address", server.address, "--ca", str(tmp_path / "ca.pem")]

    good = await mlxforge("generate", "a b", "-n", "2", "--token", TOKEN, *trusting, *identity)
    assert (good.code, good.out, good.err) == (0, "a b\n", "")

    nameless = await mlxforge("generate", "a b", *trusting, *identity)
    assert nameless.code == 2 and "this server needs a token" in nameless.err
    assert "MLXFORGE_TOKEN" in nameless.err
    plain = await mlxforge("models", "--address", server.address, "--timeout", "5")
    assert plain.code == 3


async def test_a_token_goes_to_no_other_machine_in_plain_text() -> None:
    result = await mlxforge("models", "--address", "192.0.2.1:50051", "--token", TOKEN)
    assert result.code == 2
    assert "would travel to 192.0.2.1:50051 in plain text" in result.err
    assert TOKEN not in result.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--certificate", "x.pem"], "--certificate and --key go together"),
        (["--ca", "/nowhere/ca.pem"], "cannot read /nowhere/ca.pem"),
    ],
)
async def test_options_that_cannot_be(options: list[str], message: str) -> None:
    result = await mlxforge("models", *options)
    assert result.code == 2 and message in result.err
