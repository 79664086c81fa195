"""One side of ``bench.service``, alone in its process: prints its runs as a line of JSON.

python -m bench.sides engine --streams 1,4 --new 16
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent.parent / "tests/engine/embedding/texts.json"
_STEP = 70  # characters between two passages that overlap
_WARM_STREAMS, _WARM_NEW = 2, 4
_READY_SECONDS = 300

# Answers one prompt: token ids as they come.
Ask = Callable[[str, int, str], AsyncIterator[Sequence[int]]]


@dataclass(slots=True)
class Run:
    """One side's measurement; times in seconds, one entry per stream."""

    seconds: float
    first: list[float]
    tokens: list[list[int]]


def passages(length: int) -> list[str]:
    """At least 140 prompts of ``length`` characters of real text; the first do not overlap."""
    texts: list[str] = json.loads(CORPUS.read_text("utf-8"))
    text = next(text for text in texts if len(text) == 10_000)
    starts = [range(shift, len(text) - length, length) for shift in range(0, length, _STEP)]
    return [text[at : at + length] for places in starts for at in places]


async def ask_all(ask: Ask, prompts: Sequence[str], new: int, salt: str) -> Run:
    """All prompts at once. ``salt`` keeps them apart from what the prefix cache knows."""
    started = time.perf_counter()

    async def one(prompt: str) -> tuple[float, list[int]]:
        first = 0.0
        tokens: list[int] = []
        async for ids in ask(prompt, new, salt):
            if ids and not tokens:
                first = time.perf_counter() - started
            tokens.extend(ids)
        return first, tokens

    found = await asyncio.gather(*map(one, prompts))
    seconds = time.perf_counter() - started
    return Run(seconds, [first for first, _ in found], [tokens for _, tokens in found])


async def measure(ask: Ask, args: argparse.Namespace) -> list[Run]:
    """Every number of streams, after a warm-up."""
    prompts = passages(args.chars)
    await ask_all(ask, prompts[-_WARM_STREAMS:], _WARM_NEW, "warm")
    runs = enumerate(args.streams)  # the same number may be there again
    return [await ask_all(ask, prompts[:n], args.new, f"run{run}") for run, n in runs]


async def run_engine(args: argparse.Namespace) -> list[Run]:
    """Our engine on this process's loop, or in a worker."""
    from mlxforge.engine.local import LocalEngine
    from mlxforge.engine.request import GenerationRequest, SamplingParams
    from mlxforge.service.worker.engine import WorkerEngine

    engine = (WorkerEngine if args.side == "worker" else LocalEngine)(args.model)
    await engine.start()
    count = 0

    async def ask(prompt: str, new: int, salt: str) -> AsyncIterator[Sequence[int]]:
        nonlocal count
        count += 1
        request = GenerationRequest(
            request_id=f"r{count}",
            prompt=prompt,
            sampling_params=SamplingParams(temperature=0.0),
            max_tokens=new,
            ignore_eos=True,
            cache_salt=salt,
        )
        async for output in engine.generate(request):
            yield output.token_ids

    try:
        return await measure(ask, args)
    finally:
        await engine.close()


async def run_grpc(args: argparse.Namespace) -> list[Run]:
    """Our server in a process of its own, and a client in this one."""
    import grpc

    from mlxforge.v1 import generation_pb2, generation_pb2_grpc, sampling_pb2

    command = [sys.executable, "-m", "mlxforge.service.cli", "serve", args.model]
    command += ["--address", "127.0.0.1:0", "--log-level", "warning", "--json"]
    command += ["--set", f"worker.enabled={args.side == 'grpc'}"]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        ready = await asyncio.wait_for(_ready(server), _READY_SECONDS)
        async with grpc.aio.insecure_channel(ready["addresses"][0]) as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)

            async def ask(prompt: str, new: int, salt: str) -> AsyncIterator[Sequence[int]]:
                request = generation_pb2.GenerateRequest(
                    model=ready["models"][0],
                    prompt=prompt,
                    sampling_params=sampling_pb2.SamplingParams(temperature=0.0),
                    max_tokens=new,
                    ignore_eos=True,
                    cache_salt=salt,
                )
                async for answer in stub.StreamGenerate(request):
                    yield answer.delta.token_ids

            return await measure(ask, args)
    finally:
        server.terminate()
        await server.wait()


async def _ready(server: asyncio.subprocess.Process) -> dict[str, Any]:
    assert server.stdout is not None
    async for line in server.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "ready":
            return event
    raise RuntimeError("the server ended before it was ready")


async def run_peer(args: argparse.Namespace) -> list[Run]:
    """BatchGenerator, without our BLAS or with it."""
    from mlxforge.engine import blas

    if args.side == "plain":
        blas.preload = lambda: None  # type: ignore[assignment] # as without mlxforge
    from mlxforge.engine.loader import load_model

    loaded = load_model(args.model)
    from mlx_lm.generate import BatchGenerator

    def run(prompts: Sequence[str], new: int) -> Run:
        ids = [loaded.tokenizer.encode(prompt, add_special_tokens=True) for prompt in prompts]
        generator: Any = BatchGenerator(loaded.model)
        started = time.perf_counter()
        uids = generator.insert(ids, max_tokens=[new] * len(ids))
        first: dict[int, float] = {}
        tokens: dict[int, list[int]] = {uid: [] for uid in uids}
        left = len(uids)
        while left:
            for answer in generator.next_generated():
                first.setdefault(answer.uid, time.perf_counter() - started)
                tokens[answer.uid].append(int(answer.token))
                left -= answer.finish_reason is not None
        seconds = time.perf_counter() - started
        generator.close()
        return Run(seconds, [first[uid] for uid in uids], [tokens[uid] for uid in uids])

    prompts = passages(args.chars)
    run(prompts[-_WARM_STREAMS:], _WARM_NEW)
    return [run(prompts[:count], args.new) for count in args.streams]


RUNNERS: dict[str, Callable[[argparse.Namespace], Coroutine[Any, Any, list[Run]]]] = {
    "engine": run_engine,
    "worker": run_engine,
    "grpc": run_grpc,
    "local": run_grpc,
    "plain": run_peer,
    "openblas": run_peer,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What all sides are asked alike."""
    model = "smollm2-135m-instruct"
    parser.add_argument("--model", default=model, help=f"as `mlxforge serve` takes it ({model})")
    parser.add_argument("--streams", type=numbers, default=[1, 4, 16], help="at once (1,4,16)")
    chars = "characters per prompt (330, about 64 tokens)"
    parser.add_argument("--chars", type=int, default=330, help=chars)
    parser.add_argument("--new", type=int, default=48, help="tokens per stream (48)")


def numbers(text: str) -> list[int]:
    """An argument of whole numbers."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Run one side."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("side", choices=RUNNERS)
    add_arguments(parser)
    args = parser.parse_args()
    runs = asyncio.run(RUNNERS[args.side](args))
    print(json.dumps([asdict(run) for run in runs]))


if __name__ == "__main__":
    main()
