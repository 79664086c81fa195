"""Ends an RPC with the status of an engine's error."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from mlxforge.engine.errors import EngineError

from ..errors import status_of
from .metadata import REQUEST_ID

DETAILS = "grpc-status-details-bin"

_CODES = {code.value[0]: code for code in grpc.StatusCode}


async def abort(context: Any, error: EngineError, request_id: str) -> NoReturn:
    """End the call with the error's code, message and details."""
    status = status_of(error, request_id)
    await context.abort(
        _CODES[status.code],
        status.message,
        trailing_metadata=((DETAILS, status.SerializeToString()), (REQUEST_ID, request_id)),
    )
    raise AssertionError("abort always raises")
