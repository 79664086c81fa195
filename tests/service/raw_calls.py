"""Calls of bytes, sent as they are: what no client made from the schema would send."""

from __future__ import annotations

import grpc


def unary_unary(
    channel: grpc.aio.Channel, path: str
) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
    """One message there, one back."""
    return channel.unary_unary(path)


def unary_stream(
    channel: grpc.aio.Channel, path: str
) -> grpc.aio.UnaryStreamMultiCallable[bytes, bytes]:
    """One message there, many back."""
    return channel.unary_stream(path)


def stream_stream(
    channel: grpc.aio.Channel, path: str
) -> grpc.aio.StreamStreamMultiCallable[bytes, bytes]:
    """Many messages there, many back."""
    return channel.stream_stream(path)
