# ruff: noqa: E402 - MLX is imported after the BLAS
"""Whole batches at once: tokens per second beside mlx-lm's BatchGenerator, and the bare loop.

B requests of 128 prompt tokens are submitted together and run to 128 new tokens, greedy and
sampled (temperature 0.7, top_p 0.9, a seed per row), both engines in the same process. The
decode step is also timed beside the model's own forward pass with one shared offset, no
mask and an argmax: the least a step of that model class can cost.

    python -m bench.decode --shapes 135m --batches 4,16          # sizes for a laptop
    python -m bench.decode --shapes 8b,1b,135m --batches 32,128  # sizes for a data-centre GPU
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path
from typing import Any

from mlxforge.engine import blas

blas.preload()

import mlx.core as mx
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.sample_utils import make_sampler

from bench import report, shapes
from mlxforge.engine.assembly import Assembly, build
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.device import DeviceThread
from mlxforge.engine.errors import EngineError
from mlxforge.engine.request import GenerationRequest, SamplingParams
from mlxforge.engine.sequence import Group


def prompts(count: int, length: int, vocab: int, seed: int = 7) -> list[list[int]]:
    """Random prompts; another ``seed`` gives others, which no prefix cache knows."""
    source = random.Random(seed)
    return [[source.randrange(vocab) for _ in range(length)] for _ in range(count)]


def run_peer(model: Any, batch: list[list[int]], new: int, sampled: bool) -> float:
    """Seconds that BatchGenerator takes."""
    sampler = (lambda: make_sampler(temp=0.7, top_p=0.9)) if sampled else (lambda: None)
    generator = BatchGenerator(
        model, max_tokens=new, completion_batch_size=len(batch), prefill_batch_size=8
    )
    started = time.perf_counter()
    samplers: list[Any] = [sampler() for _ in batch]  # None is greedy; mlx-lm's types leave it out
    generator.insert(batch, max_tokens=[new] * len(batch), samplers=samplers)
    left = len(batch)
    while left:
        for answer in generator.next_generated():
            left -= answer.finish_reason is not None
    elapsed = time.perf_counter() - started
    generator.close()
    return elapsed


def refuse_errors(deliveries: list[Any]) -> None:
    """A benchmark of failed requests would be fast."""
    for _, item in deliveries:
        if isinstance(item, EngineError):
            raise item


def run_ours(engine: Assembly, batch: list[list[int]], new: int, sampled: bool) -> float:
    """Seconds that our engine takes, from the first submit to the last token handed out."""
    core = engine.core
    started = time.perf_counter()
    for number, prompt in enumerate(batch):
        params = SamplingParams(temperature=0.0)
        if sampled:
            params = SamplingParams(temperature=0.7, top_p=0.9, seed=number)
        request = GenerationRequest(
            request_id=f"r{number}",
            prompt_token_ids=tuple(prompt),
            sampling_params=params,
            max_tokens=new,
            ignore_eos=True,
        )
        group = Group(request, None)
        engine.preparer.fill(group)
        core.submit(group)
    while core.step():
        pass
    return time.perf_counter() - started


def bare_step(model: Any, rows: int, length: int, steps: int) -> float:
    """Seconds of one step of the model alone: shared offset, no mask, argmax, lookahead."""
    cache = make_prompt_cache(model)
    model(mx.zeros((rows, length), mx.int32), cache=cache)
    mx.eval([entry.state for entry in cache])
    token = mx.zeros((rows,), mx.int32)
    times = []
    before = None
    for _ in range(steps):
        started = time.perf_counter()
        token = mx.argmax(model(token[:, None], cache=cache)[:, -1], axis=-1)
        mx.async_eval(token)
        if before is not None:
            before.tolist()
        before = token
        times.append(time.perf_counter() - started)
    mx.eval(token)
    return statistics.median(times[4:])


def our_step(engine: Assembly, rows: int, length: int, steps: int) -> float:
    """Seconds of one step of our engine with the same rows and context, all of it."""
    core = engine.core
    for number, prompt in enumerate(prompts(rows, length, core.vocab)):
        request = GenerationRequest(
            request_id=f"s{number}",
            prompt_token_ids=tuple(prompt),
            sampling_params=SamplingParams(temperature=0.0),
            max_tokens=steps + 8,
            ignore_eos=True,
        )
        group = Group(request, None)
        engine.preparer.fill(group)
        core.submit(group)
    while len(core.batch) < rows or core.batch[0].launched < 4:
        core.step()
    times = []
    for _ in range(steps):
        started = time.perf_counter()
        core.step()
        times.append(time.perf_counter() - started)
    while core.step():
        pass
    return statistics.median(times)


def measure(shape: str, args: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All runs of one shape; the peer's come first, because ours takes the weights over."""
    on_gpu = mx.default_device().type == mx.DeviceType.gpu
    model = shapes.random_model(shape, mx.bfloat16 if on_gpu else mx.float32)
    vocab = shapes.SHAPES[shape]["vocab_size"]
    cases = [(b, s) for b in args.batches for s in (False, True)]
    peer = {}
    for rows, sampled in cases:
        batch = prompts(rows, args.prompt, vocab)
        run_peer(model, prompts(rows, args.prompt, vocab, seed=8), args.warm, sampled)
        peer[rows, sampled] = run_peer(model, batch, args.new, sampled)
        mx.clear_cache()
    step_rows = args.batches[0]
    step = {"shape": shape, "rows": step_rows}
    step["bare_ms"] = 1e3 * bare_step(model, step_rows, args.prompt, args.steps)
    config = EngineConfig(max_running_requests=max(args.batches), prefix_cache=args.prefix_cache)
    engine = build(
        shapes.as_loaded(model, shape), shape, config, DeviceThread.shared(), refuse_errors
    )
    results: list[dict[str, Any]] = []
    for rows, sampled in cases:
        batch = prompts(rows, args.prompt, vocab, seed=20 + 2 * len(results))
        warm = prompts(rows, args.prompt, vocab, seed=21 + 2 * len(results))
        run_ours(engine, warm, args.warm, sampled)
        seconds = run_ours(engine, batch, args.new, sampled)
        tokens = rows * args.new
        results.append(
            {
                "shape": shape,
                "rows": rows,
                "mode": "sampled" if sampled else "greedy",
                "mlx-lm tok/s": tokens / peer[rows, sampled],
                "mlxforge tok/s": tokens / seconds,
                "ratio": peer[rows, sampled] / seconds,
            }
        )
        print(report.table(results[-1:]), flush=True)
    step["mlxforge_ms"] = 1e3 * our_step(engine, step_rows, args.prompt, args.steps)
    step["ratio"] = step["mlxforge_ms"] / step["bare_ms"]
    print(report.table([step]), flush=True)
    engine.shut()
    return results, step


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shapes", default="135m", help=f"of {', '.join(shapes.SHAPES)}")
    parser.add_argument("--batches", default="4,16", help="rows at once")
    parser.add_argument("--prompt", type=int, default=128, help="prompt tokens")
    parser.add_argument("--new", type=int, default=128, help="new tokens")
    parser.add_argument("--warm", type=int, default=64, help="new tokens of the runs not timed")
    parser.add_argument("--steps", type=int, default=60, help="steps timed for the bare loop")
    parser.add_argument("--no-prefix-cache", dest="prefix_cache", action="store_false")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args()
    args.batches = [int(part) for part in args.batches.split(",")]
    if mx.default_device().type == mx.DeviceType.cpu:
        mx.disable_compile()
    rows: list[dict[str, Any]] = []
    steps = []
    for shape in args.shapes.split(","):
        found, step = measure(shape, args)
        rows += found
        steps.append(step)
        mx.clear_cache()
    report.save("decode", rows, args.out, steps=steps, prompt=args.prompt, new=args.new)
    labels = [f"{row['shape']} B={row['rows']}\n{row['mode']}" for row in rows]
    series = {name: [row[f"{name} tok/s"] for row in rows] for name in ("mlx-lm", "mlxforge")}
    report.bars(
        args.out / "decode.png", "128 + 128 tokens, all at once", labels, series, "tokens/s"
    )


if __name__ == "__main__":
    main()
