"""What callers say of a call in its metadata, beside their token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..api.context import new_request_id

REQUEST_ID = "x-request-id"
"""Taken from a caller and given back in the trailing metadata of every answer.

Not in the initial metadata: a call whose headers were sent is not retried by gRPC's clients,
and they shall retry those that end with UNAVAILABLE.
"""
Metadata = Sequence[tuple[str, str | bytes]]

# It stands in logs and traces: bounded, on one line, nothing that could be mistaken.
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+=-]{0,127}")
# W3C Trace Context bounds the values: 55 characters, and 512 to be kept of the state.
_TRACE_CONTEXT = {"traceparent": 128, "tracestate": 2048}


def identity_of(metadata: Metadata | None) -> dict[str, Any]:
    """Fields of a ``CallContext``: its ids, and its caller's place in a trace.

    A request id that is not well formed counts as none.
    """
    fields: dict[str, Any] = {}
    trace: dict[str, str] = {}
    for key, value in metadata or ():
        if not isinstance(value, str):
            continue
        if key == REQUEST_ID and _REQUEST_ID.fullmatch(value):
            fields = {"request_id": value, "own_id": new_request_id()}
        elif len(value) <= _TRACE_CONTEXT.get(key, -1):
            trace[key] = value
    return {**fields, "trace": trace} if trace else fields
