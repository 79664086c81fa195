"""The descriptors of messages, as one type."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message


def descriptor_of(message: Message | type[Message]) -> Descriptor:
    """What a message's class says of itself.

    types-protobuf knows the public class and upb's own, which at run time is an instance of
    the public one: all that come of it are of the public kind, too.
    """
    descriptor = message.DESCRIPTOR
    assert isinstance(descriptor, Descriptor)
    return descriptor
