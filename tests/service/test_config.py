"""Settings: where they come from, which source wins, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlxforge.engine.limits import Limits
from mlxforge.service.config import ConfigError, Settings, load_settings, settings_from
from mlxforge.service.models import open_registry, split_name

TOML = """
model = ["a", "b"]
grace_seconds = 5
[engine]
max_running_requests = 4
[limits]
max_n = 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(TOML)
    return path


def test_defaults() -> None:
    settings = load_settings(environ={})
    assert settings == Settings()
    assert settings.address == ("127.0.0.1:50051",) and settings.limits == Limits()


def test_a_file(file: Path) -> None:
    settings = load_settings(file=file, environ={})
    assert settings.model == ("a", "b") and settings.grace_seconds == 5.0
    assert settings.engine.max_running_requests == 4 and settings.limits.max_n == 2
    assert load_settings(environ={"MLXFORGE_CONFIG": str(file)}) == settings


def test_a_file_in_the_working_directory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.rename(tmp_path / "mlxforge.toml")
    monkeypatch.chdir(tmp_path)
    assert load_settings(environ={}).limits.max_n == 2


def test_flags_beat_the_environment_and_that_the_file(file: Path) -> None:
    environ = {"MLXFORGE_LIMITS_MAX_N": "3", "MLXFORGE_ENGINE_MAX_RUNNING_REQUESTS": "8"}
    settings = load_settings(
        {"model": ["c"], "grace_seconds": None}, ["limits.max_n=4"], file=file, environ=environ
    )
    assert settings.limits.max_n == 4
    assert settings.engine.max_running_requests == 8
    assert settings.model == ("c",) and settings.grace_seconds == 5.0


def test_text_values() -> None:
    environ = {
        "MLXFORGE_MODEL": "a, b",
        "MLXFORGE_GRACE_SECONDS": "1.5",
        "MLXFORGE_ALLOW_INSECURE_BIND": "yes",
        "MLXFORGE_ENGINE_DTYPE": "none",
        "MLXFORGE_ENGINE_PREFIX_CACHE": "off",
        "MLXFORGE_MAX_MESSAGE_BYTES": "1000000",
        "UNRELATED": "x",
    }
    settings = load_settings(environ=environ)
    assert settings.model == ("a", "b") and settings.grace_seconds == 1.5
    assert settings.allow_insecure_bind and not settings.engine.prefix_cache
    assert settings.engine.dtype is None and settings.max_message_bytes == 1_000_000


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"adress": "x"}, r"test: unknown setting 'adress'; did you mean 'address'\?"),
    ({"engine": {"max_running_request": 1}}, "did you mean 'engine.max_running_requests'"),
    ({"limits": {"max_m": 1}}, "did you mean 'limits.max_n'"),
    ({"max_message_bytes": "4"}, "max_message_bytes must be a whole number, not '4'"),
    ({"max_message_bytes": True}, "must be a whole number"),
    ({"max_message_bytes": 1.5}, "must be a whole number"),
    ({"max_message_bytes": -1}, "must not be negative"),
    ({"grace_seconds": "soon"}, "must be a number"),
    ({"grace_seconds": float("nan")}, "finite"),
    ({"allow_insecure_bind": "yes"}, "must be true or false"),
    ({"model": [1]}, "must be a text or a list of texts"),
    ({"log_level": "loud"}, "log_level must be one of debug, info, warning, error"),
    ({"address": []}, "at least one"),
    ({"address": "127.0.0.1"}, "must be host:port"),
    ({"address": "127.0.0.1:x"}, "must be host:port"),
    ({"address": "127.0.0.1:70000"}, "must be host:port"),
    ({"address": "unix:"}, "needs a path"),
    ({"tls": {"certificate": "c.pem"}}, "go together: set both"),
    ({"tls": {"client_ca": "ca.pem"}}, "tls.client_ca needs tls.certificate"),
    ({"auth": {"exempt": ["metrics"]}}, "auth.exempt may hold health, reflection, not 'metrics'"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_wrong_values(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_from(values, "test")


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0:1", "[::]:1", "example.com:1", "192.168.0.1:1", ["127.0.0.1:1", "10.0.0.1:1"]],
)
def test_addresses_beyond_this_machine_need_words(address: Any) -> None:
    with pytest.raises(ConfigError, match="--allow-insecure-bind"):
        settings_from({"address": address}, "test").check_bind()
    settings_from({"address": address, "allow_insecure_bind": True}, "test").check_bind()
    tls = {"tls": {"certificate": "c.pem", "key": "k.pem"}}
    tokens = {"auth": {"tokens_file": "t.toml"}}
    with pytest.raises(ConfigError, match=r"without tokens .* or clients' certificates"):
        settings_from({"address": address, **tls}, "test").check_bind()
    with pytest.raises(ConfigError, match=r"without TLS \(tls\.certificate, tls\.key\)\."):
        settings_from({"address": address, **tokens}, "test").check_bind()
    settings_from({"address": address, **tls, **tokens}, "test").check_bind()
    mutual = {"tls": {**tls["tls"], "client_ca": "ca.pem"}}
    settings_from({"address": address, **mutual}, "test").check_bind()


@pytest.mark.parametrize(
    "address", ["127.0.0.1:0", "127.8.8.8:1", "[::1]:1", "localhost:65535", "unix:/a/b"]
)
def test_addresses_of_this_machine(address: str) -> None:
    settings = settings_from({"address": address}, "test")
    settings.check_bind()
    assert settings.address == (address,)


def test_wrong_sources(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(file=tmp_path / "nope.toml", environ={})
    (tmp_path / "bad.toml").write_text("a = ")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_settings(file=tmp_path / "bad.toml", environ={})
    with pytest.raises(ConfigError, match="--set takes name=value"):
        load_settings(assignments=["x"], environ={})
    with pytest.raises(ConfigError, match=r"MLXFORGE_LIMITS_MAX_N: limits\.max_n must be a whole"):
        load_settings(environ={"MLXFORGE_LIMITS_MAX_N": "two"})
    load_settings(environ={"MLXFORGE_ADRESS": "x", "MLXFORGE_PYTHON": "x"})
    [record] = caplog.records
    assert "did you mean MLXFORGE_ADDRESS" in record.getMessage()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("org/Model-4bit", ("Model-4bit", "org/Model-4bit")),
        ("./models/tiny/", ("tiny", "./models/tiny/")),
        ("/m/x.Q4.gguf", ("x.Q4", "/m/x.Q4.gguf")),
        ("mine=org/Model", ("mine", "org/Model")),
        ("plain", ("plain", "plain")),
    ],
)
def test_names_of_models(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected


def test_two_models_of_one_name() -> None:
    with pytest.raises(ConfigError, match="two models with the id 'x': give one another"):
        open_registry(Settings(model=("a/x", "b/x")))
    assert [e.id for e in open_registry(Settings(model=("a/x", "y=b/x")))] == ["x", "y"]
