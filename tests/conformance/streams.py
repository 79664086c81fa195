"""Many streams at once from one process of each client, on one server or in-process.

``python -m tests.conformance.streams [--streams 500] [--tokens 32] [--model steady]`` starts the
service with scripted engines, which costs little, so that the clients are what is measured.
``--address`` measures on a server that runs already.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import grpc

from mlxforge.v1 import generation_pb2, generation_pb2_grpc

from .environment import ROOT, server


async def python_streams(address: str, model: str, streams: int, tokens: int) -> dict[str, object]:
    """The same from Python, with grpc.aio."""
    request = generation_pb2.GenerateRequest(
        model=model, prompt="one two three", max_tokens=tokens, ignore_eos=True
    )
    async with grpc.aio.insecure_channel(address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        await channel.channel_ready()

        async def one() -> int:
            count = 0
            async for response in stub.StreamGenerate(request):
                count += len(response.delta.token_ids)
            return count

        begin = time.perf_counter()
        counts = await asyncio.gather(*(one() for _ in range(streams)))
        seconds = time.perf_counter() - begin
    rate = round(sum(counts) / seconds)
    return {"client": "python", "completed": counts.count(tokens), "tokens_per_second": rate}


async def program(*command: str) -> dict[str, object]:
    """What a client's own program prints."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    found: dict[str, object] = json.loads(output)
    return found


async def measure(arguments: argparse.Namespace, address: str) -> None:
    """Each client in turn, several rounds, so that the machine's other load hits all."""
    streams, tokens, model = arguments.streams, arguments.tokens, arguments.model
    numbers = (str(streams), str(tokens))
    node = ("node", str(ROOT / "stubs/node/bench/streams.js"), "grpc", address, model, *numbers)
    rust = (str(arguments.rust), address, model, *numbers)
    for _ in range(arguments.rounds):
        print(json.dumps(await python_streams(address, model, streams, tokens)), flush=True)
        print(json.dumps(await program(*node)), flush=True)
        if arguments.rust.exists():
            print(json.dumps(await program(*rust)), flush=True)


async def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="steady", help="steady: 4 words a second")
    parser.add_argument("--address", default="")
    target = ROOT / "stubs/rust/target/debug/examples/streams"
    parser.add_argument(
        "--rust", type=Path, default=target, help="made by cargo build --examples --all-features"
    )
    arguments = parser.parse_args()
    if arguments.address:
        await measure(arguments, arguments.address)
        return
    async with server("scripted") as address:
        await measure(arguments, address)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
