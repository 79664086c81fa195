"""Settings of the door: TLS and bearer tokens (docs/security.md)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS of the TCP addresses. Files are PEM, and read again when they change."""

    certificate: str | None = None
    """The server's certificate and the chain behind it. With it, every TCP address speaks TLS."""
    key: str | None = None
    """Its private key, without a passphrase."""
    client_ca: str | None = None
    """Certificates that sign those of clients. With it, a client must show one (mutual TLS)."""

    @property
    def enabled(self) -> bool:
        """Whether TCP addresses speak TLS."""
        return self.certificate is not None


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Bearer tokens: who may call, and how much."""

    tokens_file: str | None = None
    """TOML file of tokens; read again when it changes."""
    tokens: tuple[str, ...] = field(default=(), repr=False)
    """Tokens as `name:token`, best given as MLXFORGE_AUTH_TOKENS: arguments are seen by others."""
    exempt: tuple[str, ...] = ("health",)
    """What answers without a token: health, reflection."""
    max_concurrent_calls: int | None = None
    """Calls that each token may run at once, where the file says nothing else."""
    tokens_per_minute: int | None = None
    """Prompt and completion tokens that each bearer may use, where the file says nothing else."""
    share_prefixes: bool = False
    """Let bearers share cached prefixes, although a hit's speed tells one what others asked."""

    @property
    def enabled(self) -> bool:
        """Whether a call needs a token."""
        return self.tokens_file is not None or bool(self.tokens)
