"""``mlxforge embed``: texts to vectors, from a sentence to a corpus."""

from __future__ import annotations

import asyncio
import enum
import itertools
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from google.rpc import code_pb2, error_details_pb2
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from mlxforge.v1 import embedding_pb2

from . import options
from .door import Door, call_one, open_door
from .failure import CallError, CommandError, ExitCode
from .options import Defaults, Target
from .run import exits, run
from .vector_files import VectorFile, open_vectors

# Calls on their way at once: the model works on one while others travel.
_CALLS = 4
# Far below what a call may hold (2,048 inputs, 4 MiB).
_CALL_CHARS = 500_000
_ATTEMPTS = 6


class PoolingOption(enum.StrEnum):
    """How token vectors become one."""

    MEAN = "mean"
    CLS = "cls"
    LAST = "last"


_POOLINGS = {
    PoolingOption.MEAN: embedding_pb2.POOLING_MEAN,
    PoolingOption.CLS: embedding_pb2.POOLING_CLS,
    PoolingOption.LAST: embedding_pb2.POOLING_LAST,
}

Texts = Annotated[
    list[str] | None,
    typer.Argument(
        help="Texts to embed. With none, and no --file, lines are read from stdin.",
        show_default=False,
    ),
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        "-f",
        help="A file of texts, one a line; of a `.jsonl` file the field --field. May be repeated.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Write to this `.jsonl` or `.npy` file instead of stdout.",
        dir_okay=False,
        show_default=False,
    ),
]


def embed(
    texts: Texts = None,
    files: Files = None,
    field: Annotated[str, typer.Option(help="The text's field in `.jsonl` files.")] = "text",
    output: Output = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the output file ends.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output file.")
    ] = False,
    instruction: Annotated[
        str,
        typer.Option(
            help="Task to embed for, or the name of one of the model's prompts (`query`)."
        ),
    ] = "",
    pooling: Annotated[
        PoolingOption | None, typer.Option(help="Default: the model's own.", show_default=False)
    ] = None,
    dimensions: Annotated[
        int | None,
        typer.Option(min=1, help="Keep so many leading values.", show_default=False),
    ] = None,
    normalize: Annotated[bool, typer.Option(help="Scale vectors to length 1.")] = True,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut texts that are too long for the model.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, max=2048, help="Texts a call.")] = 256,
    model: options.Model = "",
    address: options.Address = None,
    embedded: options.Embedded = False,
    timeout: options.Timeout = None,
    as_json: options.Json = False,
) -> None:
    """Embed texts: from the command line, files or stdin; to JSON lines or `.npy`.

    Vectors come in the order of the texts, one JSON object a line with `index` and
    `embedding`. An interrupted run with --output goes on with the same command and --resume.

    Examples:

        mlxforge embed "A man is eating food." "A man is eating bread."

        mlxforge embed --embedded --instruction query "how do whales sleep" | jq .embedding

        mlxforge embed --file corpus.txt --output corpus.npy --truncate

        mlxforge embed --file corpus.txt --output corpus.npy --truncate --resume
    """
    settings = embedding_pb2.EmbedRequest(
        model="" if embedded else model,
        normalize=normalize,
        instruction=instruction,
        truncate=truncate,
        dimensions=dimensions,
    )
    if pooling is not None:
        settings.pooling = _POOLINGS[pooling]
    with exits(as_json=as_json):
        if resume and (overwrite or output is None):
            raise CommandError(
                "--resume needs an --output, and no --overwrite", code=ExitCode.USAGE
            )
        source = Source(texts or [], files or [], field)
        if resume and source.is_stdin:
            raise CommandError(
                "--resume needs texts that can be read again: name them or a --file",
                code=ExitCode.USAGE,
            )
    target = Target(address, embedded, model, Defaults.EMBEDDING, timeout, as_json)
    into = (output, resume, overwrite)
    run(_embed(target, settings, source, into, batch_size), as_json=as_json)


class Source:
    """Where texts come from, one after the other."""

    def __init__(self, texts: list[str], files: list[Path], field: str) -> None:
        self._texts = texts
        self._files = files
        self._field = field

    @property
    def is_stdin(self) -> bool:
        """Whether texts are read from stdin."""
        return not (self._texts or self._files)

    def __len__(self) -> int:
        """Number of texts. Reads files through; not for stdin."""
        lines = 0
        for path in self._files:
            with path.open("rb") as file:
                lines += sum(1 for _ in file)
        return len(self._texts) + lines

    def __iter__(self) -> Iterator[str]:
        yield from self._texts
        for path in self._files:
            with path.open(encoding="utf-8", newline="\n") as file:
                for number, line in enumerate(file, 1):
                    yield self._text_of(line, path, number)
        if self.is_stdin:
            for line in sys.stdin:
                yield line.rstrip("\r\n")

    def _text_of(self, line: str, path: Path, number: int) -> str:
        if path.suffix != ".jsonl":
            return line.rstrip("\r\n")
        try:
            text = json.loads(line)[self._field]
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"{path}, line {number}: no JSON object with the field {self._field!r}",
                "name the text's field with --field",
                ExitCode.USAGE,
            ) from error
        if not isinstance(text, str):
            raise CommandError(
                f"{path}, line {number}: {self._field!r} is no text", code=ExitCode.USAGE
            )
        return text


async def _embed(
    target: Target,
    settings: embedding_pb2.EmbedRequest,
    source: Source,
    into: tuple[Path | None, bool, bool],
    batch_size: int,
) -> None:
    output, resume, overwrite = into
    async with open_door(target) as door:
        file = open_vectors(output, resume=resume, overwrite=overwrite)
        total = None if source.is_stdin else len(source)
        try:
            with _progress(quiet=target.as_json) as bars:
                bar = bars.add_task("embedding", total=total, completed=file.count)

                def advance() -> None:
                    bars.update(bar, completed=file.count)

                await _embed_all(door, settings, source, file, batch_size, advance)
        finally:
            file.close()


def _progress(*, quiet: bool) -> Progress:
    """A bar on stderr that counts texts, where there is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )


async def _embed_all(
    door: Door,
    settings: embedding_pb2.EmbedRequest,
    source: Source,
    file: VectorFile,
    batch_size: int,
    advance: Callable[[], None],
) -> None:
    """Some calls are on their way at once; their answers are written in order."""
    calls: deque[asyncio.Task[embedding_pb2.EmbedResponse]] = deque()
    first = file.count

    async def write_next() -> None:
        nonlocal first
        response = await calls.popleft()
        vectors = np.array([item.values for item in response.embeddings], np.float32)
        file.write(vectors, [item.truncated for item in response.embeddings])
        advance()

    batches = _batches(itertools.islice(source, file.count, None), batch_size)
    try:
        # Read on a thread: lines from stdin may be long in coming, and calls are under way.
        while batch := await asyncio.to_thread(next, batches, None):
            calls.append(asyncio.create_task(_call(door, settings, batch, first)))
            first += len(batch)
            if len(calls) >= _CALLS:
                await write_next()
        while calls:
            await write_next()
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


def _batches(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    """Lists of texts for one call each."""
    batch: list[str] = []
    chars = 0
    for text in texts:
        if batch and (len(batch) >= size or chars + len(text) > _CALL_CHARS):
            yield batch
            batch, chars = [], 0
        batch.append(text)
        chars += len(text)
    if batch:
        yield batch


async def _call(
    door: Door, settings: embedding_pb2.EmbedRequest, texts: list[str], first: int
) -> embedding_pb2.EmbedResponse:
    """One call, made again when the server is busy and says when to come back."""
    request = embedding_pb2.EmbedRequest()
    request.CopyFrom(settings)
    for text in texts:
        request.inputs.add(text=text)
    for attempt in range(_ATTEMPTS):
        try:
            response: embedding_pb2.EmbedResponse = await call_one(
                door, "EmbeddingService/Embed", request
            )
            return response
        except CallError as error:
            wait = _retry_delay(error)
            if wait is None or attempt == _ATTEMPTS - 1:
                if error.code is ExitCode.USAGE and first:
                    error.hint = f"inputs are counted from text {first} on. {error.hint}".strip()
                raise
            await asyncio.sleep(wait * 2**attempt)
    raise AssertionError("unreachable")


def _retry_delay(error: CallError) -> float | None:
    """Seconds after which a busy server wants to be asked again; None: it is no use."""
    if error.status.code not in (code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED):
        return None
    retry = error_details_pb2.RetryInfo()
    for detail in error.status.details:
        if detail.Unpack(retry):
            return float(retry.retry_delay.ToTimedelta().total_seconds())
    return None
