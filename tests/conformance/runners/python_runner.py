"""The Python runner: generated stubs over gRPC; libmlxforge through ctypes in-process.

``python_runner.py grpc ADDRESS`` or ``python_runner.py embedded CONFIG_JSON``.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message
from google.rpc import status_pb2

from mlxforge.v1 import embedding_pb2, generation_pb2, model_pb2, tokenizer_pb2

METHODS = {
    f"{service.full_name}/{method.name}": method
    for file in (generation_pb2, embedding_pb2, tokenizer_pb2, model_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_output = threading.Lock()


@dataclass
class Call:
    """A call to make. ``method`` is None for a name that the schema does not know."""

    id: str
    name: str
    timeout_ms: int
    cancel_after: int
    requests: list[str]

    def request_messages(self) -> list[Message]:
        """The requests, parsed."""
        kind = message_factory.GetMessageClass(METHODS[self.name].input_type)
        return [json_format.Parse(request, kind()) for request in self.requests]

    def response(self, data: bytes) -> str:
        """A response as one line of JSON."""
        kind = message_factory.GetMessageClass(METHODS[self.name].output_type)
        return json_format.MessageToJson(kind.FromString(data), indent=None)


Door = Callable[[Call], tuple[int, bytes]]
"""Makes a call, says its messages, and returns the code and the serialized status."""


def say(line: str) -> None:
    """Write one line of the protocol."""
    with _output:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


class GrpcDoor:
    """Calls over a channel."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        grpc.channel_ready_future(self.channel).result(timeout=30)

    def __call__(self, call: Call) -> tuple[int, bytes]:
        method = METHODS[call.name]
        kind = "stream" if method.client_streaming else "unary"
        kind += "_stream" if method.server_streaming else "_unary"
        make = getattr(self.channel, kind)(
            f"/{call.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=bytes,
        )
        timeout = None if call.timeout_ms < 0 else call.timeout_ms / 1000
        requests = call.request_messages()
        argument = iter(requests) if method.client_streaming else requests[0]
        try:
            if method.server_streaming:
                self._stream(call, make(argument, timeout=timeout))
            else:
                self._unary(call, make.future(argument, timeout=timeout))
        except grpc.RpcError as error:
            return error.code().value[0], _status_of(error)
        return 0, b""

    def _stream(self, call: Call, running: Any) -> None:
        if call.cancel_after == 0:
            running.cancel()
        for count, data in enumerate(running, 1):
            say(f"message {call.id} {call.response(data)}")
            if count == call.cancel_after:
                running.cancel()

    def _unary(self, call: Call, running: Any) -> None:
        if call.cancel_after == 0:
            running.cancel()
        try:
            say(f"message {call.id} {call.response(running.result())}")
        except grpc.FutureCancelledError:
            raise Cancelled from None


class Cancelled(grpc.RpcError):
    """A unary call that this side cancelled."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def details(self) -> str:
        return "cancelled"


def _status_of(error: Any) -> bytes:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return bytes(value)
    status = status_pb2.Status(code=error.code().value[0], message=error.details() or "")
    return bytes(status.SerializeToString())


class EmbeddedDoor:
    """Calls of libmlxforge, each waited for by the thread that made it."""

    MESSAGE, END = 1, 2

    def __init__(self, config: str) -> None:
        self.library = library = ctypes.CDLL(os.environ["MLXFORGE_LIBRARY"])
        pointers = ["engine_open", "call_start", "call_error", "error_details"]
        for name in pointers:
            getattr(library, f"mlxforge_{name}").restype = ctypes.c_void_p
        error = ctypes.c_void_p()
        opened = library.mlxforge_engine_open(config.encode(), ctypes.byref(error))
        if opened is None:
            library.mlxforge_error_message.restype = ctypes.c_char_p
            raise SystemExit(library.mlxforge_error_message(error).decode())
        self.engine = ctypes.c_void_p(opened)

    def __call__(self, call: Call) -> tuple[int, bytes]:
        library = self.library
        requests = [message.SerializeToString() for message in call.request_messages()]
        error = ctypes.c_void_p()
        handle = ctypes.c_void_p(
            library.mlxforge_call_start(
                self.engine,
                call.name.encode(),
                requests[0] if requests else None,
                ctypes.c_size_t(len(requests[0]) if requests else 0),
                0,
                ctypes.c_int64(call.timeout_ms),
                ctypes.byref(error),
            )
        )
        if not handle:
            return self._failure(error)
        try:
            self._send(call, handle, requests[1:])
            if call.cancel_after == 0:
                library.mlxforge_call_cancel(handle)
            for count, data in enumerate(self._messages(handle), 1):
                say(f"message {call.id} {call.response(data)}")
                if count == call.cancel_after:
                    library.mlxforge_call_cancel(handle)
            failed = library.mlxforge_call_error(handle)
            return self._failure(ctypes.c_void_p(failed)) if failed else (0, b"")
        finally:
            library.mlxforge_call_free(handle)

    def _send(self, call: Call, handle: ctypes.c_void_p, requests: list[bytes]) -> None:
        if not METHODS[call.name].client_streaming:
            return
        for request in requests:
            self.library.mlxforge_call_send(handle, request, ctypes.c_size_t(len(request)))
        self.library.mlxforge_call_send(handle, None, ctypes.c_size_t(0))

    def _messages(self, handle: ctypes.c_void_p) -> Iterator[bytes]:
        message, size = ctypes.c_void_p(), ctypes.c_size_t()
        while True:
            event = self.library.mlxforge_call_next(
                handle, ctypes.c_int64(-1), ctypes.byref(message), ctypes.byref(size)
            )
            if event != self.MESSAGE:
                return
            yield ctypes.string_at(message, size.value)

    def _failure(self, error: ctypes.c_void_p) -> tuple[int, bytes]:
        size = ctypes.c_size_t()
        details = self.library.mlxforge_error_details(error, ctypes.byref(size))
        return self.library.mlxforge_error_code(error), ctypes.string_at(details, size.value)


def run(door: Door, call: Call) -> None:
    """Make a call and say how it ended."""
    code, status = door(call)
    say(f"end {call.id} {code} {json.dumps({'status': status.hex()} if code else {})}")


def read_calls() -> Iterator[Call]:
    """The calls of standard input."""
    for line in sys.stdin:
        _, call_id, name, timeout_ms, cancel_after, count = line.split()
        requests = [sys.stdin.readline() for _ in range(int(count))]
        yield Call(call_id, name, int(timeout_ms), int(cancel_after), requests)


def main() -> None:
    """Serve standard input, a thread for each call."""
    door = {"grpc": GrpcDoor, "embedded": EmbeddedDoor}[sys.argv[1]](sys.argv[2])
    say("ready")
    threads: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
    for call in read_calls():
        thread = threading.Thread(target=run, args=(door, call))
        thread.start()
        threads.put(thread)
    while not threads.empty():
        threads.get().join()


if __name__ == "__main__":
    main()
