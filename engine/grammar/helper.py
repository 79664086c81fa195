"""The engine's side of the helper process that compiles constraints."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

from mlxforge.engine.errors import InternalError, InvalidRequest, ResourceExhausted
from mlxforge.engine.request import Constraint, ConstraintKind

from . import limits
from .template import GrammarTemplate
from .vocabulary import Vocabulary

_START_SECONDS = 30.0


class CompileHelper:
    """One helper process, started ahead and started again if it died.

    ``check`` may be called from any thread; calls take turns.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Starts the process and returns once it stands ready, some tenths of a second later."""
        self._hello = _line(
            {
                "tokens": [base64.b64encode(token).decode() for token in vocabulary.tokens],
                "special": sorted(vocabulary.special_token_ids),
                "eos": vocabulary.native_eos,
            }
        )
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._closed = False
        self._start()
        if not self._ready(_START_SECONDS):
            self._kill()
            raise InternalError("the grammar compiler cannot be started")

    @property
    def pid(self) -> int | None:
        """Process id of the helper; None while there is none."""
        process = self._process
        return None if process is None else process.pid

    def check(self, constraint: Constraint | GrammarTemplate) -> str:
        """The grammar of a constraint, within two seconds once it is its turn.

        Raises ``InvalidRequest``, ``ResourceExhausted``.
        """
        if not self._turn.acquire(timeout=limits.COMPILE_QUEUE_SECONDS):
            raise ResourceExhausted("the grammar compiler is busy", retry_after=1.0)
        try:
            answer = self._ask(_request(constraint))
        finally:
            self._turn.release()
        if "grammar" in answer:
            return str(answer["grammar"])
        if "refused" in answer:
            raise _refusal(constraint, answer)
        raise _too_complex(str(answer.get("complex", "takes too long to compile")))

    def close(self) -> None:
        """End the process. May be called twice."""
        with self._turn:
            self._closed = True
            self._kill()

    def _ask(self, request: bytes) -> dict[str, Any]:
        """The answer to a request; an empty one when the compiler did not survive it."""
        deadline = time.monotonic() + limits.ANSWER_SECONDS
        process = self._running(deadline)
        try:
            _write(process, request)
        except OSError:
            # It died between two requests, which is not this one's fault.
            self._kill()
            process = self._running(deadline)
            try:
                _write(process, request)
            except OSError as error:
                raise InternalError("the grammar compiler does not stay alive") from error
        answer = _read(process, deadline - time.monotonic())
        if answer is None:
            self._kill()
            if not self._closed:
                self._start()  # so that the next request finds it ready
        return answer or {}

    def _running(self, deadline: float) -> subprocess.Popen[bytes]:
        """The process, ready. One that is not there by then goes on starting."""
        if self._process is None:
            self._start()
        process = self._process
        if process is None or not self._ready(deadline - time.monotonic()):
            if process is not None and process.poll() is not None:
                self._kill()
            raise ResourceExhausted("the grammar compiler is starting", retry_after=1.0)
        return process

    def _start(self) -> None:
        if self._closed:
            raise InternalError("the grammar compiler is closed")
        environment = dict(
            os.environ,
            PYTHONPATH=os.pathsep.join(filter(None, sys.path)),
            # It forks, which wants no threads; NumPy's BLAS would start some.
            OPENBLAS_NUM_THREADS="1",
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._is_ready = False
        # Nor does it outlive a helper that nobody closed.
        self._end = weakref.finalize(self, _end, self._process)
        # More than a pipe takes at once, and it reads only after some tenths of a second.
        greet = threading.Thread(target=_greet, args=(self._process, self._hello), daemon=True)
        greet.start()

    def _ready(self, seconds: float) -> bool:
        """Whether the process stands ready within so many seconds."""
        if not self._is_ready and self._process is not None:
            self._is_ready = _read(self._process, seconds) is not None
        return self._is_ready

    def _kill(self) -> None:
        if self._process is not None:
            self._process = None
            self._end()


def _greet(process: subprocess.Popen[bytes], hello: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):  # it ended, or was closed, before it was read
        _write(process, hello)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _request(constraint: Constraint | GrammarTemplate) -> bytes:
    if isinstance(constraint, GrammarTemplate):
        schemas = [schema.source for schema in constraint.schemas]
        return _line({"kind": "template", "source": constraint.lark, "choices": schemas})
    return _line(
        {
            "kind": constraint.kind.value,
            "source": constraint.source,
            "choices": list(constraint.choices),
        }
    )


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _write(process: subprocess.Popen[bytes], line: bytes) -> None:
    if process.stdin is None:
        raise OSError("no pipe")
    process.stdin.write(line)
    process.stdin.flush()


def _read(process: subprocess.Popen[bytes], seconds: float) -> dict[str, Any] | None:
    """One line of the process; None when it ended, hung, or wrote something else."""
    if process.stdout is None:
        return None
    deadline = time.monotonic() + seconds
    most = 8 * limits.MAX_GRAMMAR_CHARS
    received = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not received.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece or len(received) > most:
                return None
            received += piece
    try:
        answer = json.loads(received)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _refusal(constraint: Constraint | GrammarTemplate, answer: dict[str, Any]) -> InvalidRequest:
    pointer, reason = str(answer.get("pointer") or ""), str(answer["refused"])
    if isinstance(constraint, GrammarTemplate):
        schema = constraint.schemas[int(answer["schema"])] if "schema" in answer else None
        field = schema.field if schema is not None else "chat.tools"
        if schema is not None and pointer:
            pointer = schema.root + pointer.removeprefix("#")
    else:
        choice = constraint.kind is ConstraintKind.CHOICE
        field = "choice.values" if choice else constraint.kind.value
    return InvalidRequest.of(field, f"{pointer}: {reason}" if pointer else reason)


def _too_complex(what: str) -> ResourceExhausted:
    return ResourceExhausted(
        f"the constraint {what}; simplify it",
        reason="CONSTRAINT_TOO_COMPLEX",
        retry_after=None,
    )
