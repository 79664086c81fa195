"""Tokens: where they come from, and what is said of wrong ones."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest

from mlxforge.service.config import ConfigError, load_settings
from mlxforge.service.security import AuthSettings
from mlxforge.service.server.tokens import Grant, TokenTable, read_grants

ALICE, OTHER = "alice-0123456789", "other-0123456789"
FILE = f"""
[alice]
token = "{ALICE}"
models = ["small", "large"]
max_concurrent_calls = 2

[ops]
sha256 = ["{hashlib.sha256(b"ops-0123456789ab").hexdigest().upper()}"]
token = ["{OTHER}"]
admin = true
tokens_per_minute = 5000
"""


def written(tmp_path: Path, text: str, mode: int = 0o600) -> str:
    path = tmp_path / "tokens.toml"
    path.touch(mode=mode)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_file(tmp_path: Path) -> None:
    table = TokenTable(AuthSettings(written(tmp_path, FILE), tokens_per_minute=100))
    alice = table.find(ALICE)
    assert alice is not None and (alice.name, alice.admin) == ("alice", False)
    assert alice.models == {"small", "large"}
    assert (alice.max_concurrent_calls, alice.tokens_per_minute) == (2, 100)
    ops = table.find(OTHER)
    assert ops is not None and ops is table.find("ops-0123456789ab")
    assert (ops.admin, ops.models, ops.tokens_per_minute) == (True, frozenset(), 5000)
    for stranger in ("", ALICE[:-1], ALICE + "0", ALICE.upper(), "alice"):
        assert table.find(stranger) is None


def test_the_environment_beside_a_file(tmp_path: Path) -> None:
    environ = {
        "MLXFORGE_AUTH_TOKENS": "bob:bob-0123456789ab, eve:eve+0123456789/==",
        "MLXFORGE_AUTH_TOKENS_FILE": written(tmp_path, FILE),
        "MLXFORGE_AUTH_MAX_CONCURRENT_CALLS": "7",
    }
    settings = load_settings(environ=environ)
    table = TokenTable(settings.auth)
    assert [grant.name for grant in table.grants] == ["bob", "eve", "alice", "ops"]
    bob = table.find("bob-0123456789ab")
    assert bob is not None and (bob.name, bob.max_concurrent_calls) == ("bob", 7)
    for text in (repr(settings), repr(table.grants)):
        assert "bob-" not in text and "eve+" not in text, "settings are logged; tokens are not"
        assert repr(bob.digests) not in text


def test_a_file_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = Path(written(tmp_path, FILE))
    table = TokenTable(AuthSettings(str(path)))
    path.write_text(FILE.replace(ALICE, "alice-renewed-token"))
    assert table.find(ALICE) is None and table.find("alice-renewed-token") is not None
    path.write_text("[alice")
    assert table.find("alice-renewed-token") is not None
    os.remove(path)
    assert table.find("alice-renewed-token") is not None
    complaints = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert ["is not TOML" in text or "cannot read" in text for text in complaints] == [True, True]
    assert not any("renewed" in text for text in complaints)
    written(tmp_path, FILE)
    assert table.find(ALICE) is not None


WRONG = [
    ("", "holds no tokens: nobody could call"),
    ("[a", "is not TOML"),
    ("a = 1", "a must be a table"),
    ("[a]", "a needs a token or its sha256"),
    ("[a]\ntoken = 5", "token must be a text or a list of texts"),
    ("[a]\ntoken = [[]]", "token must be a text or a list of texts"),
    ('[a]\ntoken = "short"', "must have 16 to 4096"),
    ('[a]\ntoken = "a token with spaces"', "must have 16 to 4096"),
    ('[a]\ntoken = "töken-0123456789"', "must have 16 to 4096"),
    ('[a]\nsha256 = "abc"', "64 hexadecimal digits"),
    (f'[a]\ntoken = "{ALICE}"\nadmn = true', "unknown key 'admn'; there are: admin"),
    (f'[a]\ntoken = "{ALICE}"\nadmin = 1', "admin must be true or false"),
    (f'[a]\ntoken = "{ALICE}"\nmodels = "x"', "models must be a list of texts"),
    (f'[a]\ntoken = "{ALICE}"\nmodels = [1]', "models must be a text or a list"),
    (f'[a]\ntoken = "{ALICE}"\ntokens_per_minute = 0', "must be a whole number above 0"),
    (f'[a]\ntoken = "{ALICE}"\ntokens_per_minute = true', "must be a whole number above 0"),
    (f'[a]\ntoken = "{ALICE}"\nmax_concurrent_calls = -1', "must be a whole number above 0"),
    (f'["a b"]\ntoken = "{ALICE}"', "a bearer's name has up to 64"),
    (f'["a\\nb"]\ntoken = "{ALICE}"', "a bearer's name has up to 64"),
    (f'[a]\ntoken = "{ALICE}"\n[b]\ntoken = "{ALICE}"', "a and b have the same token"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_files(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        TokenTable(AuthSettings(written(tmp_path, text)))
    assert ALICE not in str(caught.value)


def test_secrets_that_all_may_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="open to every user: chmod 600"):
        TokenTable(AuthSettings(written(tmp_path, FILE, mode=0o644)))
    TokenTable(AuthSettings(written(tmp_path, FILE, mode=0o640)))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (("x" * 20,), "entry 0 must be name:token"),
        ((f"a:{ALICE}", "b:short"), "the token of b must have 16"),
        ((f"a:{ALICE}", f"a:{OTHER}"), "two bearers of the name a"),
    ],
)
def test_wrong_pairs(pairs: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_grants(AuthSettings(tokens=pairs))
    assert ALICE not in str(caught.value) and "x" * 20 not in str(caught.value)


def test_every_digest_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """No early exit, no look-up by the secret: time says nothing of where a token stands."""
    table = TokenTable(AuthSettings(tokens=tuple(f"n{i}:token-{i:012}" for i in range(9))))
    compared: list[tuple[bytes, bytes]] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return left == right

    monkeypatch.setattr("mlxforge.service.server.tokens.hmac.compare_digest", compare)
    for token, found in (("token-000000000000", "n0"), ("token-000000000008", "n8"), ("x", None)):
        compared.clear()
        grant = table.find(token)
        assert (grant and grant.name) == found
        assert len(compared) == 9 and all(len(a) == len(b) == 32 for a, b in compared)


def test_grants_default_to_little() -> None:
    assert not Grant("x").admin
