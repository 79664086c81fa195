"""Settings of the service: flags, then ``MLXFORGE_*`` variables, then ``mlxforge.toml``.

A setting has one name everywhere: ``engine.max_running_requests`` is a key of the table
``[engine]`` in the file, ``MLXFORGE_ENGINE_MAX_RUNNING_REQUESTS`` in the environment,
``--set engine.max_running_requests=64`` on the command line and a key of the object
``engine`` in the C library's ``config_json``.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import logging
import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.limits import Limits

from .registry.settings import ModelsSettings
from .security import AuthSettings, TlsSettings
from .telemetry.settings import MetricsSettings, TelemetrySettings
from .worker.config import WorkerConfig

ENV_PREFIX = "MLXFORGE_"
DEFAULT_FILE = "mlxforge.toml"
DEFAULT_ADDRESS = "127.0.0.1:50051"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
EXEMPTIBLE = ("health", "reflection")

_log = logging.getLogger("mlxforge.service.config")


class ConfigError(Exception):
    """A setting is unknown or wrong; the message names it, where it stands and what it may be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Times are in seconds."""

    model: tuple[str, ...] = ()
    """Models to serve: Hugging Face ids, folders, `.gguf` files. None: the default ones."""
    address: tuple[str, ...] = (DEFAULT_ADDRESS,)
    """Where to listen: `host:port` or `unix:path`, one or more."""
    allow_insecure_bind: bool = False
    """Listen beyond this machine without TLS and tokens, for anyone to use."""
    socket_mode: str = "600"
    """Permissions of Unix sockets, in octal: 600 lets this user in, 660 its group, too."""
    max_connections: int = 4096
    """Connections that may be open at once."""
    handshake_seconds: float = 10.0
    """How long a new connection has to finish its handshake."""
    max_message_bytes: int = 4 * 2**20
    """Largest request message."""
    max_concurrent_calls: int = 2048
    """Calls that may run at once, all clients together."""
    max_concurrent_streams: int = 1024
    """Calls that may run at once on one connection."""
    grace_seconds: float = 30.0
    """How long running calls may go on after SIGTERM."""
    keepalive_seconds: float = 60.0
    """A connection silent for so long is asked whether it lives."""
    keepalive_timeout_seconds: float = 20.0
    """How long it has to answer."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_format: str = "text"
    """text, or json: one object a line."""
    log_prompts: bool = False
    """Log how every prompt begins, too. Prompts are their users' own: think twice."""
    tls: TlsSettings = field(default_factory=TlsSettings)
    """Encryption of TCP addresses."""
    auth: AuthSettings = field(default_factory=AuthSettings)
    """Who may call."""
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    """Metrics for Prometheus."""
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    """Traces and channelz."""
    limits: Limits = field(default_factory=Limits)
    """Most of everything one request may hold."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """How each model is served."""
    models: ModelsSettings = field(default_factory=ModelsSettings)
    """Which models may be loaded, how many at once, and when they are unloaded."""
    worker: WorkerConfig = field(default_factory=WorkerConfig)
    """How models are kept in processes of their own."""

    def __post_init__(self) -> None:
        for name, value in _flattened(self):
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{name} must be a finite number, not {value}")
            if isinstance(value, (int, float)) and value < 0:
                raise ConfigError(f"{name} must not be negative, and is {value}")
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(
                f"log_level must be one of {', '.join(LOG_LEVELS)}, not {self.log_level!r}"
            )
        if self.log_format not in LOG_FORMATS:
            raise ConfigError(
                f"log_format must be one of {', '.join(LOG_FORMATS)}, not {self.log_format!r}"
            )
        if self.metrics.address:
            _check_address(self.metrics.address, "metrics.address")
            if self.metrics.address.startswith("unix:"):
                raise ConfigError("metrics.address must be host:port, as in 127.0.0.1:9464")
        if not self.address:
            raise ConfigError("address must name at least one place to listen")
        for address in self.address:
            _check_address(address)
        if not re.fullmatch(r"0?[0-7]{3}", self.socket_mode):
            raise ConfigError(
                f"socket_mode must be three octal digits, as 660, not {self.socket_mode!r}"
            )
        self._check_security()

    def _check_security(self) -> None:
        if (self.tls.certificate is None) != (self.tls.key is None):
            raise ConfigError("tls.certificate and tls.key go together: set both")
        if self.tls.client_ca is not None and not self.tls.enabled:
            raise ConfigError("tls.client_ca needs tls.certificate and tls.key")
        for name in self.auth.exempt:
            if name not in EXEMPTIBLE:
                known = ", ".join(EXEMPTIBLE)
                raise ConfigError(f"auth.exempt may hold {known}, not {name!r}")

    def check_bind(self) -> None:
        """Refuse to be reached from other machines by just anyone. Raises ``ConfigError``.

        Beyond this machine an address needs TLS, and tokens or clients' certificates, or
        ``allow_insecure_bind``.
        """
        lacking = []
        if not self.tls.enabled:
            lacking.append("TLS (tls.certificate, tls.key)")
        if not (self.auth.enabled or self.tls.client_ca):
            lacking.append("tokens (auth.tokens_file) or clients' certificates (tls.client_ca)")
        for address in self.address:
            if lacking and not (self.allow_insecure_bind or is_local(address)):
                raise ConfigError(
                    f"address: {address} can be reached from other machines, without "
                    f"{', and without '.join(lacking)}. Set them up, or listen on 127.0.0.1, "
                    f"or, to let anyone in who can reach it, add --allow-insecure-bind"
                )
        metrics = self.metrics.address
        if metrics and not (self.allow_insecure_bind or is_local(metrics)):
            raise ConfigError(
                f"metrics.address: {metrics} can be reached from other machines, and nobody is "
                f"asked for a token there. Listen on 127.0.0.1, or add --allow-insecure-bind"
            )


def load_settings(
    flags: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings from all sources. Raises ``ConfigError``.

    ``flags`` are values by dotted name (None: not given), ``assignments`` are texts
    ``name=value``, ``file`` stands for ``MLXFORGE_CONFIG``, else ``./mlxforge.toml``.
    """
    environ = os.environ if environ is None else environ
    values = dict(_from_file(file, environ))
    values.update(_from_environ(environ))
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set takes name=value, not {assignment!r}")
        values[name] = _parsed(name, text, "--set")
    for name, value in (flags or {}).items():
        if value is not None:
            values[name] = _converted(name, value, "the command line")
    return _built(values)


def settings_from(mapping: Mapping[str, Any], origin: str) -> Settings:
    """Settings from a (nested) mapping alone, as the C library's ``config_json``.

    ``origin`` says in errors where the mapping came from. Raises ``ConfigError``.
    """
    return _built(dict(_from_mapping(mapping, origin)))


def _types() -> dict[str, Any]:
    """Type of each setting by its dotted name."""
    names: dict[str, Any] = {}
    for name, hint in _HINTS.items():
        if name in _GROUPS:
            nested = typing.get_type_hints(hint)
            names.update({f"{name}.{inner}": nested[inner] for inner in nested})
        else:
            names[name] = hint
    return names


_HINTS = typing.get_type_hints(Settings)
# Settings that hold others: a table of the file each.
_GROUPS: dict[str, Any] = {
    name: hint for name, hint in _HINTS.items() if dataclasses.is_dataclass(hint)
}
_TYPES = _types()
_VARIABLES = {ENV_PREFIX + name.replace(".", "_").upper(): name for name in _TYPES}


def _built(values: Mapping[str, Any]) -> Settings:
    single: dict[str, Any] = {}
    grouped: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        group, _, inner = name.rpartition(".")
        (grouped.setdefault(group, {}) if group else single)[inner] = value
    made: dict[str, Any] = {name: _GROUPS[name](**inner) for name, inner in grouped.items()}
    return Settings(**single, **made)


def _from_file(file: Path | None, environ: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    named = file or (
        Path(environ[ENV_PREFIX + "CONFIG"]) if ENV_PREFIX + "CONFIG" in environ else None
    )
    path = named or Path(DEFAULT_FILE)
    if named is None and not path.is_file():
        return
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    yield from _from_mapping(content, str(path))


def _from_mapping(
    mapping: Mapping[str, Any], origin: str, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        name = prefix + key
        if isinstance(value, Mapping) and name in _GROUPS:
            yield from _from_mapping(value, origin, f"{name}.")
        else:
            yield name, _converted(name, value, origin)


def _from_environ(environ: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for variable, text in environ.items():
        name = _VARIABLES.get(variable)
        if name is not None:
            yield name, _parsed(name, text, variable)
        elif variable.startswith(ENV_PREFIX):
            # Others of the prefix are not settings (MLXFORGE_CONFIG, MLXFORGE_PYTHON): only
            # what looks like a slip of the pen is worth a word.
            close = difflib.get_close_matches(variable, _VARIABLES, n=1, cutoff=0.85)
            if close:
                _log.warning("%s is not a setting; did you mean %s?", variable, close[0])


def _type_of(name: str, origin: str) -> Any:
    if name not in _TYPES:
        close = difflib.get_close_matches(name, _TYPES, n=1, cutoff=0.0)
        raise ConfigError(f"{origin}: unknown setting {name!r}; did you mean {close[0]!r}?")
    return _TYPES[name]


def _parsed(name: str, text: str, origin: str) -> Any:
    """A setting from text: lists are separated by commas, ``none`` unsets."""
    hint, optional = _unwrapped(_type_of(name, origin))
    text = text.strip()
    value: Any = text
    try:
        if optional and text.lower() in ("", "none"):
            value = None
        elif hint is bool:
            value = _BOOLEANS[text.lower()]
        elif hint in (int, float):
            value = hint(text)
        elif hint == tuple[str, ...]:
            value = [part.strip() for part in text.split(",") if part.strip()]
    except (ValueError, KeyError):
        raise ConfigError(f"{origin}: {name} must be {_noun(hint)}, not {text!r}") from None
    return _converted(name, value, origin)


_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def _converted(name: str, value: Any, origin: str) -> Any:
    """A setting of its own type, from a value of TOML's, JSON's or Python's."""
    hint, optional = _unwrapped(_type_of(name, origin))
    if value is None and optional:
        return None
    if hint == tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items):
            return tuple(items)
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{origin}: {name} must be {_noun(hint)}, not {value!r}")


def _unwrapped(hint: Any) -> tuple[Any, bool]:
    """``int | None`` as (int, True); ``int`` as (int, False)."""
    if isinstance(hint, types.UnionType):
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return inner[0], True
    return hint, False


def _noun(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(hint, "a text or a list of texts")


def _flattened(settings: Settings) -> Iterator[tuple[str, Any]]:
    for name in _TYPES:
        group, _, inner = name.rpartition(".")
        yield name, getattr(getattr(settings, group) if group else settings, inner)


def _check_address(address: str, name: str = "address") -> None:
    if address.startswith("unix:"):
        if address == "unix:":
            raise ConfigError(f"{name}: unix: needs a path, as in unix:/run/mlxforge.sock")
        return
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(
            f"{name}: {address!r} must be host:port or unix:path, as in {DEFAULT_ADDRESS}"
        )


def is_local(address: str) -> bool:
    """Whether only this machine can reach the address."""
    host = address.rpartition(":")[0]
    if address.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
