# ruff: noqa: E402 - MLX is imported after the BLAS
"""Streams beside an embedding load on one model: the gap between tokens, with and without.

Eight streams decode on a generating model, by turns alone and while short texts are embedded on
the same weights, as many as there is time for. The 99th percentile of the gap should at most
double. At the end, texts are embedded without streams.

    python -m bench.sharing --seconds 8 --rounds 2      # a look
    python -m bench.sharing                             # until 10,000 texts, or ten rounds
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import time
from pathlib import Path
from typing import Any

from mlxforge.engine import blas

blas.preload()

import numpy as np

from bench import report
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.engine import Engine
from mlxforge.engine.request import (
    EmbeddingRequest,
    GenerationRequest,
    SamplingParams,
)

_WORDS = (
    "the",
    "rain",
    "bread",
    "river",
    "stone",
    "old",
    "new",
    "light",
    "house",
    "green",
    "sings",
)
_NUMBERS = itertools.count()


async def stream(engine: Engine, new: int, gaps: list[float], until: float) -> None:
    """Read streams one after the other until a time, and note the gaps between tokens in ms."""
    while time.perf_counter() < until:
        request = GenerationRequest(
            request_id=f"s{next(_NUMBERS)}",
            prompt="Once upon a time there was",
            sampling_params=SamplingParams(temperature=0.0),
            max_tokens=new,
            ignore_eos=True,
        )
        before: float | None = None
        async for _ in engine.generate(request):
            now = time.perf_counter()
            if now > until:
                break
            if before is not None:
                gaps.append(1e3 * (now - before))
            before = now


async def embed(engine: Engine, until: float, size: int) -> int:
    """Embed short texts until a time, four requests of ``size`` at once; how many were ready."""
    source = random.Random(3)
    count = 0

    async def requests() -> None:
        nonlocal count
        while True:
            texts = tuple(" ".join(source.choices(_WORDS, k=8)) for _ in range(size))
            await engine.embed(EmbeddingRequest(f"e{next(_NUMBERS)}", texts))
            count += size

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(until - time.perf_counter()):
            await asyncio.gather(*(requests() for _ in range(4)))
    return count


async def measure(args: argparse.Namespace) -> None:
    """Alone and beside the load, by turns, then the load alone."""
    engine = Engine(args.model, EngineConfig())
    await engine.start()
    await stream(engine, 8, [], time.perf_counter() + 1)  # warm
    gaps: dict[bool, list[float]] = {False: [], True: []}
    texts, loaded = 0, 0.0
    ratios: list[float] = []
    while len(ratios) < args.rounds and texts < args.texts:
        found: dict[bool, list[float]] = {}
        for load in (False, True):
            started = time.perf_counter()
            until = started + args.seconds
            found[load] = []
            work = [stream(engine, args.new, found[load], until) for _ in range(args.streams)]
            if load:
                texts += (await asyncio.gather(embed(engine, until, 5), *work))[0] or 0
                loaded += args.seconds
            else:
                await asyncio.gather(*work)
            gaps[load] += found[load]
        ratios.append(float(np.percentile(found[True], 99) / np.percentile(found[False], 99)))
    alone = await embed(engine, time.perf_counter() + args.seconds, 100)
    await engine.close()
    rows: list[dict[str, Any]] = [
        {
            "streams": args.streams,
            "embedding": "yes" if load else "no",
            "gaps": len(gaps[load]),
            "p50 ms": float(np.percentile(gaps[load], 50)),
            "p99 ms": float(np.percentile(gaps[load], 99)),
            "texts/s": texts / loaded if load else 0.0,
        }
        for load in (False, True)
    ]
    rows.append({"streams": 0, "embedding": "yes", "gaps": 0, "texts/s": alone / args.seconds})
    ratio = rows[1]["p99 ms"] / rows[0]["p99 ms"]
    print(f"the 99th percentile of the gap grew {ratio:.2f} times beside {texts} texts; by round:")
    print(", ".join(f"{r:.2f}" for r in ratios))
    report.save("sharing", rows, args.out, texts=texts, p99_ratio=ratio, rounds=ratios)
    labels = ["p50", "p99"]
    series = {f"embedding: {r['embedding']}": [r["p50 ms"], r["p99 ms"]] for r in rows[:2]}
    report.bars(args.out / "sharing.png", "gap between tokens", labels, series, "ms")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m-instruct", help="any that generates")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--new", type=int, default=96, help="tokens of each stream")
    parser.add_argument("--texts", type=int, default=10_000, help="of eight words each, in all")
    parser.add_argument("--seconds", type=float, default=20, help="of each part of a round")
    parser.add_argument("--rounds", type=int, default=10, help="at most")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
