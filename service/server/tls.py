"""TLS of the server: certificates checked before use, and read again when they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from ..config import ConfigError
from ..security import TlsSettings
from .files import Reloaded, read_file

MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class _Identity:
    """The files' contents, checked."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None

    def configuration(self) -> Any:
        return grpc.ssl_server_certificate_configuration(
            [(self.key, self.certificate)], root_certificates=self.client_ca
        )


class Tls:
    """Credentials of the TCP ports. gRPC speaks TLS 1.2 and 1.3 only.

    Connections that are open keep the certificate they began with.
    """

    def __init__(self, settings: TlsSettings) -> None:
        """Reads the files. Raises ``ConfigError`` that says what is wrong with which."""
        certificate, key = Path(settings.certificate or ""), Path(settings.key or "")
        client_ca = None if settings.client_ca is None else Path(settings.client_ca)
        paths = [path for path in (certificate, key, client_ca) if path is not None]
        self._files = Reloaded("certificates", paths, lambda: _read(certificate, key, client_ca))
        self._require_client = client_ca is not None
        # Kept: gRPC holds no reference of its own to what it calls back.
        self._ports: list[_Port] = []

    def credentials(self) -> grpc.ServerCredentials:
        """Of one more port. Each has its own: gRPC is told of a change once for each."""
        port = _Port(self._files, require_client=self._require_client)
        self._ports.append(port)
        return port.credentials


class _Port:
    """Credentials, and what gRPC knows of the files."""

    def __init__(self, files: Reloaded[_Identity], *, require_client: bool) -> None:
        self._files = files
        self._given = files.value
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._given.configuration(),
            self._changed,
            require_client_authentication=require_client,
        )

    def _changed(self) -> Any:
        """gRPC asks before each handshake, on a thread of its own: None is no change."""
        current = self._files.value
        if current is self._given:
            return None
        self._given = current
        return current.configuration()


def peer_name(auth_context: Mapping[str, Sequence[bytes]]) -> str:
    """Who the client's certificate says it is: its common name, else a subject alternative."""
    for field in ("x509_common_name", "x509_subject_alternative_name"):
        for value in auth_context.get(field, ()):
            name = value.decode(errors="replace")
            if name:
                return "".join(c if c.isprintable() else "?" for c in name[:MAX_NAME])
    return ""


def _read(certificate: Path, key: Path, client_ca: Path | None) -> _Identity:
    chain, private = read_file(certificate), read_file(key, secret=True)
    leaf = _certificates(certificate, chain)[0]
    _check_dates(certificate, leaf)
    if _public_key(key, private) != leaf.public_key().public_bytes(*_PUBLIC):
        raise ConfigError(f"{key} is not the key of the certificate in {certificate}")
    roots = None if client_ca is None else read_file(client_ca)
    if client_ca is not None and roots is not None:
        for root in _certificates(client_ca, roots):
            _check_dates(client_ca, root)
    return _Identity(chain, private, roots)


_PUBLIC = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _certificates(path: Path, data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate in PEM form: {error}") from error


def _check_dates(path: Path, certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        raise ConfigError(f"{path}: the certificate expired {certificate.not_valid_after_utc}")
    if certificate.not_valid_before_utc > now:
        raise ConfigError(
            f"{path}: the certificate is not valid before {certificate.not_valid_before_utc}"
        )


def _public_key(path: Path, data: bytes) -> bytes:
    try:
        private = load_pem_private_key(data, password=None)
    except TypeError as error:
        raise ConfigError(f"{path}: the key has a passphrase; give one without") from error
    except ValueError as error:
        raise ConfigError(f"{path} holds no private key in PEM form") from error
    return private.public_key().public_bytes(*_PUBLIC)
