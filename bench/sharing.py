"""Streams beside an embedding load on one model: the gap between tokens, with and without.

Eight streams decode on a generating model; then eight more while thousands of short texts are
embedded on the same weights. The 99th percentile of the gap should at most double.

    python -m bench.sharing --texts 1000      # a look
    python -m bench.sharing                   # 10,000 texts
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import time
from pathlib import Path

from mlxforge.engine import blas

blas.preload()

import numpy as np  # noqa: E402 - all after the BLAS

from bench import report  # noqa: E402
from mlxforge.engine.config import EngineConfig  # noqa: E402
from mlxforge.engine.engine import Engine  # noqa: E402
from mlxforge.engine.request import (  # noqa: E402
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


async def stream(engine: Engine, new: int, gaps: list[float], done: asyncio.Event | None) -> None:
    """Read streams one after the other and note the gaps, once or until ``done``."""
    while True:
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
            if before is not None:
                gaps.append(1e3 * (now - before))
            before = now
        if done is None or done.is_set():
            return


async def embed(engine: Engine, count: int, done: asyncio.Event) -> float:
    """Embed ``count`` short texts, a few requests at a time; texts per second."""
    source = random.Random(3)
    texts = [" ".join(source.choices(_WORDS, k=8)) for _ in range(count)]
    parts = [tuple(texts[at : at + 100]) for at in range(0, count, 100)]
    started = time.perf_counter()
    turns = asyncio.Semaphore(4)

    async def one(part: tuple[str, ...]) -> None:
        async with turns:
            await engine.embed(EmbeddingRequest(f"e{next(_NUMBERS)}", part))

    await asyncio.gather(*(one(part) for part in parts))
    done.set()
    return count / (time.perf_counter() - started)


async def measure(args: argparse.Namespace) -> None:
    """Both runs."""
    engine = Engine(args.model, EngineConfig())
    await engine.start()
    rows = []
    for load in (False, True):
        await stream(engine, 8, [], None)  # warm
        gaps: list[float] = []
        done = asyncio.Event() if load else None
        work = [stream(engine, args.new, gaps, done) for _ in range(args.streams)]
        rate = 0.0
        if done is not None:
            rate = (await asyncio.gather(embed(engine, args.texts, done), *work))[0] or 0.0
        else:
            await asyncio.gather(*work)
        p50, p99 = (float(np.percentile(gaps, at)) for at in (50, 99))
        rows.append(
            {
                "streams": args.streams,
                "embedding": "yes" if load else "no",
                "gaps": len(gaps),
                "p50 ms": p50,
                "p99 ms": p99,
                "texts/s": rate,
            }
        )
    await engine.close()
    ratio = rows[1]["p99 ms"] / rows[0]["p99 ms"]  # type: ignore[operator]
    print(f"the 99th percentile of the gap grew {ratio:.2f} times")
    report.save("sharing", rows, args.out, texts=args.texts, p99_ratio=ratio)
    labels = ["p50", "p99"]
    series = {f"embedding: {r['embedding']}": [r["p50 ms"], r["p99 ms"]] for r in rows}
    report.bars(args.out / "sharing.png", "gap between tokens", labels, series, "ms")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m-instruct", help="any that generates")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--new", type=int, default=96, help="tokens of each stream")
    parser.add_argument("--texts", type=int, default=10_000, help="of eight words each")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
