"""Chat templates, rendered in a process of their own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineError, InternalError, LoadError

MAX_SOURCE = 1 << 20
"""Characters of all templates of a model."""
MAX_OUTPUT = 8 << 20
"""Characters of a rendered conversation."""
MAX_SECONDS = 1.0
"""Processor time of one render; the worker is ended when it takes more."""
MAX_MEMORY = 512 << 20
"""Bytes of address space of the worker."""
# A busy machine may give the worker little time, so the wall-clock limit is generous; it
# is there for a worker that is stopped or waits, which no template can make it do.
_WALL_SECONDS = 20 * MAX_SECONDS
_CHUNK = 1 << 16
# What the worker may know of this process's environment: where its libraries are and what
# time it is, and no secrets.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TZ", "LANG")


class TemplateError(EngineError):
    """The template cannot render a conversation.

    ``refused_message`` is the index of the message that the template itself refused.
    """

    reason = "CHAT_TEMPLATE_FAILED"

    def __init__(self, message: str, refused_message: int | None = None) -> None:
        super().__init__(message)
        self.refused_message = refused_message


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """What is known of a model's templates.

    ``variables`` they read from outside, ``literals`` are their constant texts, ``globals``
    the names that are theirs and no argument's.
    """

    variables: frozenset[str] = frozenset()
    literals: tuple[str, ...] = ()
    globals: frozenset[str] = frozenset()


class TemplateRenderer:
    """Renders a model's templates; see ``template_worker`` for how they are confined.

    The worker costs 0.1 s to start and some 0.15 ms a render (measured on 2 x86-64 cores),
    so one that is kept running needs no unconfined fast path beside it. Any thread may
    render; renders of one model wait for each other.
    """

    def __init__(self, templates: Mapping[str, str]) -> None:
        """Start the worker. Raises ``LoadError`` for templates that are not usable."""
        if sum(map(len, templates.values())) > MAX_SOURCE:
            raise LoadError(f"the chat template has more than {MAX_SOURCE:,} characters")
        self.names = frozenset(templates)
        self._setup = {
            "templates": dict(templates),
            "memory": MAX_MEMORY,
            "seconds": MAX_SECONDS,
            "max_output": MAX_OUTPUT,
        }
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        with self._lock:
            self.facts = self._start()

    def render(self, name: str, context: Mapping[str, Any], mark: str) -> str:
        """Render one of the templates. ``mark`` is the guard's (see ``control``).

        Raises ``TemplateError`` when the template fails or goes over its limits.
        """
        request = {"template": name, "context": dict(context), "mark": mark}
        with self._lock:
            if self._worker is None:
                self._start()
            answer = self._ask(request)
        if "text" not in answer:
            raise TemplateError(answer.get("error", "no text"), answer.get("refused_message"))
        return str(answer["text"])

    def close(self) -> None:
        """End the worker; a later render starts another."""
        with self._lock:
            self._stop()

    def _start(self) -> TemplateFacts:
        self._worker = _Worker()
        try:
            facts = self._ask(self._setup)
        except TemplateError as error:
            raise LoadError(f"the chat template cannot be used: {error}") from error
        if "error" in facts:
            self._stop()
            raise LoadError(f"the chat template cannot be used: {facts['error']}")
        return TemplateFacts(
            frozenset(facts["variables"]), tuple(facts["literals"]), frozenset(facts["globals"])
        )

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        worker = self._worker
        if worker is None:
            raise InternalError("the chat template's worker is not running")
        try:
            answer = worker.ask(request)
        except _WorkerDied as error:
            self._stop()
            raise TemplateError(str(error)) from error
        except BaseException:
            self._stop()  # its pipes may hold half a message
            raise
        return answer

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


class _WorkerDied(Exception):
    """The worker ended, by its limits or otherwise, or was ended."""


class _Worker:
    """One process and its pipes."""

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", _script(), _library_folder()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={key: os.environ[key] for key in _ENVIRONMENT if key in os.environ},
                start_new_session=True,  # a Ctrl-C in the terminal is not for it
            )
        except OSError as error:
            raise InternalError(f"cannot start the chat template's worker: {error}") from error
        # Ends with its owner, also when nobody closes the renderer.
        self.kill = weakref.finalize(self, _end, self._process)
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise InternalError("the chat template's worker has no pipes")
        self._stdin, self._stdout = stdin.fileno(), stdout.fileno()
        os.set_blocking(self._stdin, False)
        os.set_blocking(self._stdout, False)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send one line, receive one."""
        deadline = time.monotonic() + _WALL_SECONDS
        line = self._exchange(json.dumps(request).encode() + b"\n", deadline)
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise _WorkerDied("its worker's answer is no JSON") from error
        if not isinstance(answer, dict):
            raise _WorkerDied("its worker's answer is no object")
        return answer

    def _exchange(self, message: bytes, deadline: float) -> bytes:
        unsent = memoryview(message)
        received = bytearray()
        poll = select.poll()
        poll.register(self._stdout, select.POLLIN)
        poll.register(self._stdin, select.POLLOUT)
        while not received.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0:
                raise _WorkerDied(f"it did not finish within {_WALL_SECONDS:g} s")
            ready = dict(poll.poll(left * 1000))
            if self._stdout in ready:
                received += self._read()
            elif self._stdin in ready:
                unsent = unsent[self._write(unsent[:_CHUNK]) :]
                if not unsent:
                    poll.unregister(self._stdin)
            # A character takes at most 6 bytes in JSON.
            if len(received) > 6 * MAX_OUTPUT + _CHUNK:
                raise _WorkerDied("its output is too long")
        return bytes(received)

    def _read(self) -> bytes:
        try:
            piece = os.read(self._stdout, _CHUNK)
        except BlockingIOError:
            return b""
        if not piece:
            raise _WorkerDied(f"it took more than {MAX_SECONDS:g} s, or too much memory")
        return piece

    def _write(self, piece: memoryview) -> int:
        try:
            return os.write(self._stdin, piece)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _WorkerDied("its worker has ended") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


def _script() -> str:
    return str(Path(__file__).with_name("template_worker.py"))


def _library_folder() -> str:
    """The folder from which the worker imports Jinja (and MarkupSafe, installed beside it)."""
    spec = importlib.util.find_spec("jinja2")
    if spec is None or spec.origin is None:
        raise InternalError("Jinja is not installed")
    return str(Path(spec.origin).parent.parent)
