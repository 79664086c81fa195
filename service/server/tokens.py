"""Bearer tokens: who holds them and what they allow.

The file is TOML, a table for each bearer::

    [alice]
    token = "at least sixteen characters"
    models = ["qwen3-4b"]
    tokens_per_minute = 100000

    [ops]
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    admin = true

Both ``token`` and ``sha256`` may be lists: while a token is replaced, old and new both hold.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import ConfigError
from ..security import AuthSettings
from .files import Reloaded, read_file

MIN_TOKEN_CHARS = 16
# b64token of RFC 6750; a longer one is surely not ours, and is not hashed.
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
MAX_TOKEN_CHARS = 4096
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ENVIRONMENT = "auth.tokens"


@dataclass(frozen=True, slots=True)
class Grant:
    """What the bearer of a token may do."""

    name: str
    """For logs, quotas, and the bearer's own cached prefixes."""
    digests: tuple[bytes, ...] = field(default=(), repr=False)
    """SHA-256 of each of its tokens."""
    admin: bool = False
    """Whether models may be loaded and unloaded."""
    models: frozenset[str] = frozenset()
    """The only models that may be used; empty: all."""
    max_concurrent_calls: int | None = None
    tokens_per_minute: int | None = None


class TokenTable:
    """The grants of the settings, by token."""

    def __init__(self, settings: AuthSettings) -> None:
        """Reads the file. Raises ``ConfigError``."""
        paths = [] if settings.tokens_file is None else [Path(settings.tokens_file)]
        self._grants = Reloaded("tokens", paths, lambda: read_grants(settings))

    @property
    def grants(self) -> tuple[Grant, ...]:
        """All of them, as the file is now."""
        return self._grants.value

    def find(self, token: str) -> Grant | None:
        """Whose token it is; None: nobody's.

        Digests are compared, all of them and in constant time: neither a token's text nor
        its place in the table shows in the time it takes.
        """
        digest = hashlib.sha256(token.encode()).digest()
        found = None
        for grant in self.grants:
            for each in grant.digests:
                if hmac.compare_digest(each, digest):
                    found = grant
        return found


def read_grants(settings: AuthSettings) -> tuple[Grant, ...]:
    """The grants of the file and of the list. Raises ``ConfigError``; no token is in its text."""
    grants = [_of_pair(number, pair) for number, pair in enumerate(settings.tokens)]
    if settings.tokens_file is not None:
        grants += _of_file(Path(settings.tokens_file))
    if not grants:
        raise ConfigError(f"{settings.tokens_file} holds no tokens: nobody could call")
    _check_unique(grants)
    return tuple(_with_defaults(grant, settings) for grant in grants)


def _of_pair(number: int, pair: str) -> Grant:
    name, colon, token = pair.partition(":")
    if not colon:
        raise ConfigError(f"{_ENVIRONMENT}: entry {number} must be name:token")
    return Grant(_name(_ENVIRONMENT, name), (_digest(_ENVIRONMENT, name, token),))


def _of_file(path: Path) -> list[Grant]:
    try:
        content = tomllib.loads(read_file(path, secret=True).decode())
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    return [_of_table(str(path), name, table) for name, table in content.items()]


_KEYS: dict[str, type] = {
    "admin": bool,
    "models": list,
    "max_concurrent_calls": int,
    "tokens_per_minute": int,
}


_LEAST = {"max_concurrent_calls": 1, "tokens_per_minute": 1}
_NOUNS = {bool: "true or false", list: "a list of texts", int: "a whole number above 0"}


def _of_table(origin: str, name: str, table: Any) -> Grant:
    where = f"{origin}: {_name(origin, name)}"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} must be a table, as [{name}]")
    secrets = {"token": table.get("token", []), "sha256": table.get("sha256", [])}
    values = {key: value for key, value in table.items() if key not in secrets}
    for key, value in values.items():
        if key not in _KEYS:
            raise ConfigError(f"{where}: unknown key {key!r}; there are: {', '.join(_KEYS)}")
        # type(), because true is an int to isinstance().
        if type(value) is not _KEYS[key] or (isinstance(value, int) and value < _LEAST.get(key, 0)):
            raise ConfigError(f"{where}: {key} must be {_NOUNS[_KEYS[key]]}")
    digests = [_digest(origin, name, token) for token in _texts(where, "token", secrets["token"])]
    digests += [_hexadecimal(where, text) for text in _texts(where, "sha256", secrets["sha256"])]
    if not digests:
        raise ConfigError(f"{where} needs a token or its sha256")
    models = frozenset(_texts(where, "models", values.pop("models", [])))
    return Grant(name, tuple(digests), models=models, **values)


def _texts(where: str, key: str, value: object) -> list[str]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"{where}: {key} must be a text or a list of texts")
    return items


def _name(origin: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{origin}: a bearer's name has up to 64 letters, digits and . _ @ -, not {name[:64]!r}"
        )
    return name


def _digest(origin: str, name: str, token: str) -> bytes:
    if not (MIN_TOKEN_CHARS <= len(token) <= MAX_TOKEN_CHARS and TOKEN.fullmatch(token)):
        raise ConfigError(
            f"{origin}: the token of {name} must have {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} "
            f"letters, digits and . _ ~ + / -; `openssl rand -hex 32` makes one"
        )
    return hashlib.sha256(token.encode()).digest()


def _hexadecimal(where: str, text: str) -> bytes:
    if not _SHA256.fullmatch(text.lower()):
        raise ConfigError(f"{where}: sha256 must be 64 hexadecimal digits")
    return bytes.fromhex(text)


def _check_unique(grants: Iterable[Grant]) -> None:
    names: set[str] = set()
    owners: dict[bytes, str] = {}
    for grant in grants:
        if grant.name in names:
            raise ConfigError(f"there are two bearers of the name {grant.name}")
        names.add(grant.name)
        for digest in grant.digests:
            if owners.setdefault(digest, grant.name) != grant.name:
                raise ConfigError(f"{owners[digest]} and {grant.name} have the same token")


def _with_defaults(grant: Grant, settings: AuthSettings) -> Grant:
    return Grant(
        grant.name,
        grant.digests,
        grant.admin,
        grant.models,
        grant.max_concurrent_calls or settings.max_concurrent_calls,
        grant.tokens_per_minute or settings.tokens_per_minute,
    )
