"""The helper process that compiles constraints: ``python -m mlxforge.engine.grammar.worker``.

Requests are compiled in a fork of this process, which stands ready with everything loaded: a
compiler bomb, or a fault in native code, ends the fork and nothing else, and the next one is there
in milliseconds (not run on macOS). Requests and answers are JSON objects, one a line, on stdin and
stdout:

    first line in:   {"tokens": [base64, …], "special": [id, …], "eos": [id, …]}
    first line out:  {"ready": true}
    request:         {"kind": "json_schema", "source": "…", "choices": […]}
                     or {"kind": "template", "source": Lark text, "choices": [JSON Schema, …]}
    answer:          {"grammar": "…"} | {"complex": "why"} | {} (the fork did not survive it)
                     or {"refused": "why", "pointer": "#/a", "schema": index in a template}
"""

from __future__ import annotations

import base64
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

from llguidance import LLMatcher, LLTokenizer
from llguidance._tokenizer import TokenizerWrapper

from mlxforge.engine.request import Constraint, ConstraintKind

from . import limits
from .json_schema import Refused, TooComplex
from .source import grammar_source
from .template import TemplateRefused, fill

_COMPLEX = ("fuel", "too complex", "too large", "too many", "limit")


class _Tokens:
    """The vocabulary, with an encoder that takes the longest token each time."""

    bos_token_id = None

    def __init__(self, hello: dict[str, Any]) -> None:
        self.tokens = [base64.b64decode(token) for token in hello["tokens"]]
        self.special_token_ids = hello["special"]
        self.eos_token_id = hello["eos"][0]
        special = set(self.special_token_ids)
        self._ids = {t: i for i, t in enumerate(self.tokens) if t and i not in special}
        self._longest = max(map(len, self._ids), default=1)

    def __call__(self, text: bytes) -> list[int]:
        found: list[int] = []
        at = 0
        while at < len(text):
            for size in range(min(self._longest, len(text) - at), 0, -1):
                token = self._ids.get(text[at : at + size])
                if token is not None:
                    found.append(token)
                    break
            else:
                break
            at += size
        return found


def _limit_memory() -> None:
    """Allow what is mapped now plus a compilation's share. Not enforced on macOS."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            mapped = int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    most = mapped + limits.COMPILE_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _compile(tokenizer: LLTokenizer, request: dict[str, Any]) -> dict[str, str]:
    try:
        if request["kind"] == "template":
            source = fill(request["source"], request["choices"])
        else:
            kind = ConstraintKind(request["kind"])
            source = grammar_source(Constraint(kind, request["source"], tuple(request["choices"])))
    except TemplateRefused as refusal:
        return {
            "refused": refusal.reason,
            "pointer": refusal.pointer,
            "schema": str(refusal.index),
        }
    except Refused as refusal:
        return {"refused": refusal.reason, "pointer": refusal.pointer}
    except TooComplex as reason:
        return {"complex": str(reason)}
    except (MemoryError, RecursionError):
        return {"complex": "needs too much memory"}
    if len(source) > limits.MAX_GRAMMAR_CHARS:
        return {"complex": "its grammar is too large"}
    matcher = LLMatcher(tokenizer, source, log_level=0, limits=limits.parser_limits())
    if not matcher.is_error():
        matcher.compute_bitmask()
    if matcher.is_error():
        message = str(matcher.get_error()).partition("<non-verbose/>")[0].strip()
        if not message or any(word in message for word in _COMPLEX):
            return {"complex": "is too complex"}
        return {"refused": message[:500], "pointer": ""}
    return {"grammar": source}


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines = iter(sys.stdin.buffer.readline, b"")
    hello = json.loads(next(lines))
    tokens = _Tokens(hello)
    tokenizer = LLTokenizer(TokenizerWrapper(tokens), eos_token=hello["eos"])
    # Everything is loaded once before memory is limited.
    warm = {"kind": "json_schema", "source": '{"type": "object"}', "choices": []}
    _compile(tokenizer, warm)
    _limit_memory()
    _write(1, _line({"ready": True}))
    fork = _Fork(tokenizer)
    for line in lines:
        answer = fork.ask(line)
        _write(1, answer or b"{}\n")
        if answer is None:
            fork.end()
            fork = _Fork(tokenizer)
    fork.end()


class _Fork:
    """A copy of this process that compiles, for as long as it survives what it is given."""

    def __init__(self, tokenizer: LLTokenizer) -> None:
        reader, self._writer = os.pipe()
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                for fd in (0, 1, self._reader, self._writer):
                    os.close(fd)
                _compile_lines(tokenizer, reader, writer)
            finally:
                os._exit(0)
        os.close(reader)
        os.close(writer)

    def ask(self, line: bytes) -> bytes | None:
        """The line that answers a line; None when the fork ends over it or takes too long."""
        deadline = time.monotonic() + limits.COMPILE_WALL_SECONDS
        try:
            _write(self._writer, line)
        except OSError:
            return None
        received = b""
        while select.select([self._reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(self._reader, 1 << 16)
            received += piece
            if received.endswith(b"\n"):
                return received
            if not piece:
                break
        return None

    def end(self) -> None:
        """Kill it and forget it."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._reader)
        os.close(self._writer)


def _compile_lines(tokenizer: LLTokenizer, reader: int, writer: int) -> None:
    with os.fdopen(reader, "rb") as lines:
        for line in lines:
            # The default action of SIGPROF ends the process, native code or not.
            signal.setitimer(signal.ITIMER_PROF, limits.COMPILE_CPU_SECONDS)
            answer = _compile(tokenizer, json.loads(line))
            signal.setitimer(signal.ITIMER_PROF, 0)
            _write(writer, _line(answer))


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


if __name__ == "__main__":
    main()
