"""gRPC's channelz: every connection of this process and its counters, over gRPC."""

from __future__ import annotations

import grpc
from grpc_channelz.v1 import channelz, channelz_pb2

SERVICE = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name


def add_channelz(server: grpc.aio.Server) -> None:
    """Serve ``grpc.channelz.v1.Channelz``, to those who may call what is not exempt."""
    channelz.add_channelz_servicer(server)
