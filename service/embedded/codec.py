"""Messages as the host spells them: protobuf, or protobuf's JSON form."""

from __future__ import annotations

import enum
import json
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from mlxforge.engine.errors import InvalidRequest

MAX_DEPTH = 64
"""Nesting of a request, in both forms. The C library checks JSON's before it comes here."""

M = TypeVar("M", bound=Message)


class Codec(enum.IntEnum):
    """How messages are spelled; the values of ``mlxforge_codec``."""

    PROTOBUF = 0
    JSON = 1


def decode(data: bytes, message_type: type[M], codec: int) -> M:
    """A request from its bytes. Raises ``InvalidRequest`` that says what is wrong where."""
    if codec == Codec.JSON:
        return _from_json(data, message_type)
    try:
        return message_type.FromString(data)
    except DecodeError as error:
        raise _invalid(message_type, "its bytes cannot be parsed") from error


def encode(message: Message, codec: int) -> bytes:
    """A response as bytes."""
    if codec == Codec.JSON:
        fields = json_format.MessageToDict(message)
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return message.SerializeToString()


def _from_json(data: bytes, message_type: type[M]) -> M:
    message = message_type()
    if not data.strip():
        return message
    if not data.lstrip().startswith(b"{"):  # the parser takes an empty list for an object
        raise _invalid(message_type, "it is no JSON object")
    try:
        json_format.Parse(data.decode(), message, max_recursion_depth=MAX_DEPTH)
    except json_format.ParseError as error:
        raise _invalid(message_type, str(error)) from error
    # What the parser lets through of numbers beyond all bounds and of bytes that are no UTF-8.
    except (ValueError, OverflowError, RecursionError) as error:
        raise _invalid(message_type, f"its JSON cannot be read: {error}") from error
    return message


def _invalid(message_type: type[Message], why: str) -> InvalidRequest:
    name = message_type.DESCRIPTOR.full_name
    return InvalidRequest.of("request", f"is not a {name} message: {why}")
