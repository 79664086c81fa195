"""Prefix cache and memory: what sharing a prompt's beginning saves, and what is held when.

1. A shared prefix of 2,000 tokens: time to first token of a prompt nobody has sent before
   (cold), and of one that shares the prefix and ends otherwise (warm); medians over fresh
   prefixes, and what share of the tokens asked for was found.
2. A burst of requests: bytes held at rest, at most, and afterwards. Rows and prompts in
   prefill must be gone; cached prefixes stay on purpose, so they are dropped in the end to
   show that nothing else did.
3. A tight budget, which running requests outgrow: the most that was ever held beside the
   budget, and how many requests were put back and recomputed.

    python -m bench.prefix --shape 8b                                   # a data-centre GPU
    python -m bench.prefix --shape 135m --tokens 500 --burst 100        # a CPU
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path
from typing import Any

from bench import traffic  # first of all: it loads the BLAS before MLX

import mlx.core as mx  # isort: skip

from bench import report, shapes
from bench.traffic import Ours, Stream
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.kv.budget import device_bytes

_TAIL = 32  # tokens of each prompt that are its own
_NEW = 4


def first_token(engine: Ours, prompt: list[int]) -> Stream:
    """Serve one prompt on an idle engine."""
    stream = Stream(prompt, _NEW)
    engine.run([stream])
    return stream


def shared_prefix(engine: Ours, args: argparse.Namespace) -> dict[str, Any]:
    """Cold and warm time to first token in ms."""
    source = random.Random(11)
    cache = engine.core.memory.prefix
    assert cache is not None, "random-weight shapes have plain caches"
    cold, warm, found = [], [], []
    for repeat in range(args.repeats + 1):
        prefix = traffic.tokens(source, args.tokens, engine.vocab)
        if repeat == 1:  # the first repeat prepares kernels
            cache.queries = cache.hits = 0
        streams = [
            first_token(engine, prefix + traffic.tokens(source, _TAIL, engine.vocab))
            for _ in range(2)
        ]
        if repeat:
            cold.append(1e3 * streams[0].first)
            warm.append(1e3 * streams[1].first)
            found.append(streams[1].cached)
    return {
        "prefix tokens": args.tokens,
        "repeats": args.repeats,
        "cold ms": statistics.median(cold),
        "warm ms": statistics.median(warm),
        "warm/cold": statistics.median(warm) / statistics.median(cold),
        "cached tokens": statistics.median(found),
        "tokens asked for": cache.queries,
        "tokens found": cache.hits,
    }


def held(engine: Ours, when: str) -> dict[str, Any]:
    """A row of the memory table, in MiB."""
    memory = engine.core.memory
    mx.synchronize()
    prefixes = memory.prefix.nbytes if memory.prefix is not None else 0
    return {
        "when": when,
        "rows + prefills MiB": (memory.used - prefixes) / 2**20,
        "prefixes MiB": prefixes / 2**20,
        "MLX active MiB": mx.get_active_memory() / 2**20,
        "MLX cache MiB": mx.get_cache_memory() / 2**20,
    }


def burst(engine: Ours, args: argparse.Namespace) -> list[dict[str, Any]]:
    """What is held around a burst of requests that arrive at once."""
    core = engine.core
    first_token(engine, [1] * 200)  # whatever is made once is made before the first look
    core.rest()
    core.memory.clear()
    rows = [held(engine, "at rest")]
    source = random.Random(12)
    streams = [
        Stream(traffic.tokens(source, source.randint(32, 256), engine.vocab), 16)
        for _ in range(args.burst)
    ]
    groups = [engine.group(stream) for stream in streams]
    engine.start()
    engine.submit(groups)
    most, during = 0, rows[0]
    while core.step():
        if core.memory.used > most:
            most, during = core.memory.used, held(engine, f"most, of {args.burst} requests")
    traffic.check(streams)
    core.rest()  # as the device thread does after a second without work
    rows += [during, held(engine, "after the burst")]
    core.memory.clear()
    mx.clear_cache()
    rows.append(held(engine, "prefixes dropped"))
    return rows


def tight(args: argparse.Namespace, spare: int) -> dict[str, Any]:
    """Serve under a budget of which ``spare`` bytes are not for KV memory."""
    layout = shapes.SHAPES[args.shape]
    heads = layout["num_key_value_heads"]
    dim = layout.get("head_dim") or layout["hidden_size"] // layout["num_attention_heads"]
    position = 2 * layout["num_hidden_layers"] * heads * dim * traffic.dtype().size
    # Half of what all streams come to: they are admitted, grow, and some must give way.
    length = args.tight_prompt + args.tight_new
    budget = spare + args.tight_streams * length * position // 2
    engine = Ours(args.shape, EngineConfig(memory_budget=budget))
    core = engine.core
    source = random.Random(13)
    streams = [
        Stream(traffic.tokens(source, args.tight_prompt, engine.vocab), args.tight_new)
        for _ in range(args.tight_streams)
    ]
    groups = [engine.group(stream) for stream in streams]
    mx.clear_cache()
    mx.reset_peak_memory()
    engine.start()
    engine.submit(groups)
    started = time.perf_counter()
    most = rows = 0
    while core.step():
        most, rows = max(most, core.memory.used), max(rows, len(core.batch))
    seconds = time.perf_counter() - started
    traffic.check(streams)  # no stream lacks or repeats a token
    result = {
        "streams": args.tight_streams,
        "most at once": rows,
        "KV budget MiB": core.memory.total / 2**20,
        "KV held at most MiB": most / 2**20,
        "budget MiB": budget / 2**20,
        "MLX peak MiB": mx.get_peak_memory() / 2**20,
        "preemptions": core.stats.preemptions,
        "tok/s": args.tight_streams * args.tight_new / seconds,
    }
    engine.release()
    return result


def measure(args: argparse.Namespace) -> None:
    """All three, in order."""
    config = EngineConfig()
    engine = Ours(args.shape, config)
    sharing = shared_prefix(engine, args)
    print(report.table([sharing]), flush=True)
    memory = burst(engine, args)
    print(report.table(memory), flush=True)
    # What the engine keeps out of its budget for weights and activations.
    spare = int(config.memory_budget * device_bytes()) - engine.core.memory.total
    engine.release()
    squeezed = tight(args, spare)
    settings = {key: value for key, value in vars(args).items() if key != "out"}
    name = f"prefix-{args.shape}"
    report.save(name, [squeezed], args.out, sharing=sharing, memory=memory, settings=settings)
    bars = {name: [sharing[f"{name} ms"]] for name in ("cold", "warm")}
    title = f"Time to first token, {args.tokens} shared tokens"
    report.bars(args.out / f"{name}.png", title, [args.shape], bars, "ms")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shape", default="135m", choices=sorted(shapes.SHAPES))
    parser.add_argument("--tokens", type=int, default=2000, help="of the shared prefix (2000)")
    parser.add_argument("--repeats", type=int, default=5, help="fresh prefixes (5)")
    parser.add_argument("--burst", type=int, default=500, help="requests of the burst (500)")
    parser.add_argument("--tight-streams", type=int, default=64, help="under the tight budget (64)")
    parser.add_argument("--tight-prompt", type=int, default=64, help="tokens of their prompts (64)")
    parser.add_argument("--tight-new", type=int, default=320, help="their new tokens (320)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args()
    traffic.prepare()
    measure(args)


if __name__ == "__main__":
    main()
