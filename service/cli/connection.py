"""How the command line reaches a server: in plain text or by TLS, and with which token.

The options are added to every command that has ``--address``, in one place.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer

from ..config import is_local
from .failure import CommandError, ExitCode

_PANEL = "Connection"


@dataclass(frozen=True, slots=True)
class Connection:
    """The options of a connection."""

    tls: Annotated[
        bool,
        typer.Option("--tls", help="Speak TLS, trusting the usual roots.", rich_help_panel=_PANEL),
    ] = False
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            envvar="MLXFORGE_CA",
            help="Speak TLS, trusting this PEM file.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate",
            envvar="MLXFORGE_CERTIFICATE",
            help="This client's certificate, for mutual TLS.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", envvar="MLXFORGE_KEY", help="Its private key.", rich_help_panel=_PANEL
        ),
    ] = None
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="MLXFORGE_TOKEN",
            help="Who asks. Best given as MLXFORGE_TOKEN: arguments are seen by others.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def channel(self, address: str) -> grpc.aio.Channel:
        """A channel to a server. Raises ``CommandError``."""
        secure = self.tls or self.ca is not None or self.certificate is not None
        if self.token is not None and not (secure or is_local(address)):
            raise CommandError(
                f"the token would travel to {address} in plain text",
                "add --tls, or --ca with the server's certificate",
                ExitCode.USAGE,
            )
        if not secure:
            return grpc.aio.insecure_channel(address, options=_options(address))
        if (self.certificate is None) != (self.key is None):
            raise CommandError("--certificate and --key go together", code=ExitCode.USAGE)
        credentials = grpc.ssl_channel_credentials(
            _read(self.ca), _read(self.key), _read(self.certificate)
        )
        return grpc.aio.secure_channel(address, credentials, options=_options(address))


_current: ContextVar[Connection | None] = ContextVar("connection", default=None)


def current() -> Connection:
    """Of the running command."""
    return _current.get() or Connection()


def connecting(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of a connection, if it asks a server."""
    signature = inspect.signature(command, eval_str=True)
    if "address" not in signature.parameters or command.__name__ == "serve":
        return command
    hints = typing.get_type_hints(Connection, include_extras=True)
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(Connection(), name),
            annotation=hint,
        )
        for name, hint in hints.items()
    ]

    @functools.wraps(command)
    def connected(**values: Any) -> None:
        _current.set(Connection(**{name: values.pop(name) for name in hints}))
        command(**values)

    # What Typer reads.
    parameters = [*signature.parameters.values(), *options]
    connected.__dict__["__signature__"] = signature.replace(parameters=parameters)
    own = typing.get_type_hints(command, include_extras=True)
    connected.__annotations__ = {**own, **hints}
    return connected


def connecting_all(group: typer.Typer) -> typer.Typer:
    """The same for a command that has commands of its own."""
    for each in (*group.registered_commands, group.registered_callback):
        if each is not None and each.callback is not None:
            each.callback = connecting(each.callback)
    return group


def _read(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}", code=ExitCode.USAGE) from error


def _options(address: str) -> list[tuple[str, int]]:
    options = [("grpc.max_receive_message_length", -1)]
    if is_local(address):
        # gRPC would ask an http_proxy of the environment for this machine, too.
        options.append(("grpc.enable_http_proxy", 0))
    return options
