"""``mlxforge chat``: a conversation, in a terminal or through a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import Annotated

import typer

from mlxforge.v1 import generation_pb2

from . import options, sampling
from .door import Door, open_door
from .failure import CallError, report
from .options import Target
from .printing import write
from .run import exits

_HELP = """/exit     leave (or Ctrl-D)
/reset    forget the conversation
/help     this list
Ctrl-C    stop the answer that is being written"""


def chat(
    system: Annotated[
        str, typer.Option("--system", "-s", help="Instruction for the whole conversation.")
    ] = "",
    max_tokens: sampling.MaxTokens = None,
    temperature: sampling.Temperature = None,
    top_p: sampling.TopP = None,
    seed: sampling.Seed = None,
    stop: sampling.Stop = None,
    model: options.Model = "",
    address: options.Address = None,
    embedded: options.Embedded = False,
    timeout: options.Timeout = None,
    as_json: options.Json = False,
) -> None:
    """Talk with a model; answers are written as they come.

    In a terminal: /exit or Ctrl-D leaves, /reset starts over, Ctrl-C stops an answer.
    From a pipe every line is a turn, and only the answers are printed; with --json each
    as one object with its text, finish reason and usage.

    Examples:

        mlxforge chat

        mlxforge chat --embedded --model mlx-community/Qwen3-4B-4bit

        mlxforge chat --system "You are a pirate." --temperature 0.7

        printf 'My name is Ada.\\nWhat is my name?\\n' | mlxforge chat --json
    """
    request = sampling.base_request(
        "" if embedded else model, max_tokens, temperature, top_p, seed, stop
    )
    if system:
        request.chat.messages.add(role="system", content=system)
    target = Target(address, embedded, model, timeout=timeout, as_json=as_json)
    # One loop for the whole conversation, but run for each answer only: so that Ctrl-C
    # ends an answer, and reading a line blocks nothing.
    with exits(as_json=as_json), asyncio.Runner() as runner:
        opened = contextlib.AsyncExitStack()
        door = runner.run(opened.enter_async_context(open_door(target)))
        try:
            _Conversation(runner, door, request, as_json=as_json).run()
        finally:
            runner.run(opened.aclose())


class _Conversation:
    """The turns so far, and the loop that adds to them."""

    def __init__(
        self,
        runner: asyncio.Runner,
        door: Door,
        request: generation_pb2.GenerateRequest,
        *,
        as_json: bool,
    ) -> None:
        self._runner = runner
        self._door = door
        self._request = request
        self._opening = len(request.chat.messages)
        self._as_json = as_json
        self._interactive = sys.stdin.isatty() and not as_json

    def run(self) -> None:
        """Read lines until the end. A failed turn ends a pipe, not a terminal."""
        if self._interactive:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 - input() edits lines with it
            print("Ask away; /help lists the commands.")
        while (line := self._read()) is not None:
            match line.strip():
                case "":
                    continue
                case "/exit":
                    return
                case "/reset":
                    del self._request.chat.messages[self._opening :]
                case "/help":
                    print(_HELP)
                case text:
                    self._turn(text)

    def _read(self) -> str | None:
        try:
            if self._interactive:
                return input("> ")
            return sys.stdin.readline() or None
        except EOFError:
            print()
            return None

    def _turn(self, text: str) -> None:
        messages = self._request.chat.messages
        messages.add(role="user", content=text)
        try:
            answer = self._runner.run(self._answer())
        except CallError as error:
            if not self._interactive:
                raise
            report(error, as_json=False)
            del messages[-1]
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            write("\n")
            del messages[-1]
        else:
            messages.add(role="assistant", content=answer)

    async def _answer(self) -> str:
        parts: list[str] = []
        finish = generation_pb2.GenerateFinish()
        async for response in self._door.call("GenerationService/StreamGenerate", self._request):
            if response.HasField("finish"):
                finish = response.finish
            elif not self._as_json:
                write(response.delta.text)
            parts.append(response.delta.text)
        text = "".join(parts)
        if self._as_json:
            write(_as_json(text, finish) + "\n")
        elif not text.endswith("\n"):
            write("\n")
        # Templates refuse an empty turn; a space keeps the order of the roles.
        return text or " "


def _as_json(text: str, finish: generation_pb2.GenerateFinish) -> str:
    reason = generation_pb2.FinishReason.Name(finish.finish_reason)
    return json.dumps(
        {
            "content": text,
            "finish_reason": reason,
            "usage": {
                "prompt_tokens": finish.usage.prompt_tokens,
                "completion_tokens": finish.usage.completion_tokens,
            },
        },
        ensure_ascii=False,
    )
