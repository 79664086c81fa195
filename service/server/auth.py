"""Who calls, and whether they may: decided before anything else of a call is looked at.

An interceptor, so that it stands in front of every RPC that is served, health, reflection
and those that do not exist included. What it does not know is denied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc

from mlxforge.engine.errors import EngineError, PermissionDenied, Unauthenticated

from ..api import CallContext
from ..api.observer import CallEnd, CallObserver
from ..security import AuthSettings
from .metadata import Metadata, identity_of
from .quota import Quota
from .status import abort
from .tokens import MAX_TOKEN_CHARS, TOKEN, Grant, TokenTable

HEADER = "authorization"
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

# What every token allows. All else of our own services needs an admin's, new RPCs too,
# until they are named here.
_PACKAGE = "mlxforge.v1."
_OPEN_TO_ALL = frozenset(
    _PACKAGE + name
    for name in (
        "GenerationService/Generate",
        "GenerationService/StreamGenerate",
        "EmbeddingService/Embed",
        "EmbeddingService/StreamEmbed",
        "TokenizerService/Tokenize",
        "TokenizerService/Detokenize",
        "ModelService/ListModels",
        "ModelService/GetModel",
    )
)
_STANDARD = {
    "health": ("grpc.health.v1.Health/",),
    "reflection": (
        "grpc.reflection.v1.ServerReflection/",
        "grpc.reflection.v1alpha.ServerReflection/",
    ),
}
_ANY_TOKEN = sum(_STANDARD.values(), ())


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call."""

    grant: Grant
    quota: Quota = field(default_factory=Quota)


ANYONE = Caller(Grant(name="", admin=True))
"""Who calls where there are no tokens."""

caller: ContextVar[Caller] = ContextVar("caller", default=ANYONE)
"""Of the running call."""


class Authenticator:
    """Tells callers by their tokens."""

    def __init__(self, settings: AuthSettings) -> None:
        """Reads the tokens. Raises ``ConfigError``."""
        self._table = TokenTable(settings) if settings.enabled else None
        self._exempt = sum((_STANDARD[name] for name in settings.exempt), ())
        self._quotas: dict[str, Quota] = {}

    def caller_of(self, method: str, metadata: Metadata) -> Caller:
        """Who calls ``package.Service/Method``.

        Raises ``Unauthenticated``, and ``PermissionDenied`` when the token does not allow it.
        """
        if self._table is None or method.startswith(self._exempt):
            return ANYONE
        grant = self._table.find(bearer_token(metadata))
        if grant is None:
            raise Unauthenticated("the token is not one of this server's", reason="TOKEN_UNKNOWN")
        if not (grant.admin or method in _OPEN_TO_ALL or method.startswith(_ANY_TOKEN)):
            raise PermissionDenied(
                f"the token of {grant.name} does not allow this: it needs one with admin = true",
                reason="ADMIN_ONLY",
            )
        quota = self._quotas.setdefault(grant.name, Quota())
        quota.limit(grant.max_concurrent_calls, grant.tokens_per_minute)
        return Caller(grant, quota)


def bearer_token(metadata: Metadata) -> str:
    """The token of a call (RFC 6750). Raises ``Unauthenticated`` where there is not just one."""
    values = [value for key, value in metadata if key == HEADER]
    if not values:
        raise Unauthenticated(
            "this server needs a token: send the metadata `authorization: Bearer TOKEN`",
            reason="TOKEN_MISSING",
        )
    [value, *others] = values
    scheme, _, token = value.partition(" ") if isinstance(value, str) else ("", "", "")
    well_formed = len(token) <= MAX_TOKEN_CHARS and TOKEN.fullmatch(token)
    if others or scheme.lower() != "bearer" or not well_formed:
        raise Unauthenticated(
            "the metadata `authorization` must be `Bearer TOKEN`, once", reason="TOKEN_MALFORMED"
        )
    return token


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Turns calls away that may not be made."""

    def __init__(
        self, authenticator: Authenticator, methods: Collection[str], observer: CallObserver
    ) -> None:
        self._authenticator = authenticator
        self._observer = observer
        self._methods = methods

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """gRPC asks here for each call's handler, in the task that will run it."""
        method = handler_call_details.method.removeprefix("/")
        try:
            who = self._authenticator.caller_of(method, handler_call_details.invocation_metadata)
        except EngineError as error:
            # Clients choose the names of RPCs that do not exist: they stay out of the log.
            name = method if method in self._methods else "another RPC"
            return _refusal(name, error, self._observer)
        caller.set(who)
        return await continuation(handler_call_details)


def _refusal(method: str, error: EngineError, observer: CallObserver) -> _Handler:
    """Ends a call of any shape, without waiting for its first message."""

    async def refuse(requests: object, context: Any) -> None:
        call = CallContext(**identity_of(context.invocation_metadata()))
        observer.ended(CallEnd(method, call, 0.0, error))
        await abort(context, error, call.request_id)

    return grpc.stream_stream_rpc_method_handler(refuse)
