# ruff: noqa: E402 - MLX is imported after the BLAS
"""What a JSON Schema costs: a whole batch constrained, beside the same batch unconstrained.

All rows are under one schema of nested records, with strings of patterns and formats, in an
array so long that nobody gets to its end; both batches run to the same number of tokens. The
runs alternate, so that a machine that does other things too is unkind to both, and on a CPU the
processor time of the process is compared as well, which other processes hardly touch. mlx-lm's
BatchGenerator does the same with llguidance in its logits-processor hook, one row after the
other, which is what the hook allows.

    python -m bench.constraint                    # SmolLM2, real weights
    python -m bench.constraint --shape 8b         # random weights and a made-up vocabulary
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxforge.engine import blas

blas.preload()

import mlx.core as mx
import numpy as np
from llguidance import LLMatcher
from mlx_lm.generate import BatchGenerator

from bench import report, shapes
from bench.decode import prompts, refuse_errors
from mlxforge.engine.assembly import Assembly, build
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.device import DeviceThread
from mlxforge.engine.grammar import GrammarCompiler
from mlxforge.engine.loader import LoadedModel, load_model, resolve
from mlxforge.engine.request import (
    Constraint,
    ConstraintKind,
    GenerationRequest,
    SamplingParams,
)
from mlxforge.engine.sequence import Group

SCHEMA = {
    "type": "array",
    "minItems": 500,
    "items": {
        "type": "object",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "name": {"type": "string", "pattern": "^[A-Z][a-z]{2,15}( [A-Z][a-z]{2,15}){1,3}$"},
            "born": {"type": "string", "format": "date"},
            "score": {"type": "number", "minimum": 0, "maximum": 100},
            "tags": {
                "type": "array",
                "items": {"enum": ["new", "regular", "returning", "staff", "test", "unknown"]},
                "minItems": 1,
                "maxItems": 5,
            },
            "address": {
                "type": "object",
                "properties": {
                    "street": {"type": "string", "minLength": 3, "maxLength": 60},
                    "city": {"type": "string", "minLength": 2, "maxLength": 40},
                    "postcode": {"type": "string", "pattern": "^[0-9]{5}$"},
                },
                "required": ["street", "city", "postcode"],
                "additionalProperties": False,
            },
            "note": {"anyOf": [{"type": "string", "maxLength": 400}, {"type": "null"}]},
        },
        "required": ["id", "name", "born", "score", "tags", "address", "note"],
        "additionalProperties": False,
    },
}
CONSTRAINT = Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(SCHEMA))


class GuidanceProcessor:
    """llguidance in mlx-lm's hook: a row's mask, computed once its last token is known."""

    def __init__(self, matcher: LLMatcher, words: int, vocab: int) -> None:
        self.matcher = matcher
        self._mask = np.zeros((1, words), np.uint32)
        self._vocab = vocab
        self._begun = False

    def __call__(self, tokens: Any, logits: mx.array) -> mx.array:
        """``logits`` (1, vocab) with -inf where a token is not allowed."""
        if self._begun:
            self.matcher.consume_token(int(tokens[-1].item()))
        self._begun = True
        self.matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        bits = mx.array(self._mask.view(np.uint8))[:, :, None]
        allowed = ((bits >> mx.arange(8, dtype=mx.uint8)) & 1).reshape(1, -1)
        return mx.where(allowed[:, : self._vocab].astype(mx.bool_), logits, -mx.inf)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a batch, in seconds: on the clock, and on all processors together."""

    clock: float
    processor: float

    @classmethod
    def of(cls, run: Callable[[], None]) -> Cost:
        """What ``run`` takes."""
        clock, processor = time.perf_counter(), time.process_time()
        run()
        return cls(time.perf_counter() - clock, time.process_time() - processor)


def run_peer(
    model: Any, batch: list[list[int]], new: int, processor: Callable[[], Any] | None
) -> Cost:
    """A batch through BatchGenerator."""
    generator = BatchGenerator(
        model, max_tokens=new, completion_batch_size=len(batch), prefill_batch_size=8
    )
    hooks = [[processor()] if processor is not None else [] for _ in batch]

    def run() -> None:
        generator.insert(batch, max_tokens=[new] * len(batch), logits_processors=hooks)
        left = len(batch)
        while left:
            for answer in generator.next_generated():
                left -= answer.finish_reason is not None

    cost = Cost.of(run)
    generator.close()
    return cost


def run_ours(
    engine: Assembly, batch: list[list[int]], new: int, constraint: Constraint | None
) -> Cost:
    """A batch through our engine, from the first submit to the last token handed out."""

    def run() -> None:
        for number, prompt in enumerate(batch):
            request = GenerationRequest(
                request_id=f"r{number}",
                prompt_token_ids=tuple(prompt),
                sampling_params=SamplingParams(temperature=0.0),
                max_tokens=new,
                ignore_eos=True,
                constraint=constraint,
            )
            group = Group(request, None)
            engine.preparer.fill(group)
            engine.core.submit(group)
        while engine.core.step():
            pass

    before = engine.core.stats.generated_tokens
    cost = Cost.of(run)
    if engine.core.stats.generated_tokens - before != len(batch) * new:
        raise RuntimeError("a row ended early: the sides are not comparable")
    return cost


def measure(
    name: str, rounds: int, run: Callable[[bool, int], Cost], tokens: int
) -> dict[str, Any]:
    """Both batches by turns, each with prompts of its own; the medians."""
    for constrained in (False, True):
        run(constrained, 0)
    plain: list[Cost] = []
    masked: list[Cost] = []
    for number in range(rounds):
        plain.append(run(False, 2 * number + 1))
        masked.append(run(True, 2 * number + 2))
    ratios = [a.clock / b.clock for a, b in zip(plain, masked, strict=True)]
    row = {
        "engine": name,
        "unconstrained tok/s": tokens / statistics.median(cost.clock for cost in plain),
        "constrained tok/s": tokens / statistics.median(cost.clock for cost in masked),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }
    if not report.on_gpu():
        pairs = zip(plain, masked, strict=True)
        row["processor ratio"] = statistics.median(a.processor / b.processor for a, b in pairs)
    print(report.table([row]), flush=True)
    return row


def load(args: argparse.Namespace) -> LoadedModel:
    """SmolLM2, or random weights of a shape with a made-up vocabulary."""
    if args.shape is None:
        return load_model(str(resolve(args.model)))
    model = shapes.random_model(args.shape, mx.bfloat16 if report.on_gpu() else mx.float32)
    vocab = shapes.SHAPES[args.shape]["vocab_size"]
    return shapes.as_loaded(model, args.shape, shapes.WordTokenizer(vocab))


def compare(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Both engines; the peer comes first, because ours takes the weights over."""
    loaded = load(args)
    vocab, tokens = loaded.vocab_size, args.rows * args.new

    def batch(seed: int) -> list[list[int]]:
        return prompts(args.rows, args.prompt, vocab, seed=100 + seed)

    compiler = GrammarCompiler(loaded.tokenizer, vocab, loaded.eos_token_ids)
    grammar = compiler.compile(CONSTRAINT)
    compiler.close()
    root = grammar.fresh_matcher()

    def processor() -> GuidanceProcessor:
        return GuidanceProcessor(root.deep_copy(), compiler.vocabulary.mask_words, vocab)

    def peer(constrained: bool, seed: int) -> Cost:
        made = processor if constrained else None
        return run_peer(loaded.model, batch(seed), args.new, made)

    rows = []
    if args.rounds_peer:
        rows.append(measure("mlx-lm", args.rounds_peer, peer, tokens))
        mx.clear_cache()
    config = EngineConfig(max_running_requests=args.rows, prefix_cache=False)
    engine = build(loaded, "bench", config, DeviceThread.shared(), refuse_errors)

    def ours(constrained: bool, seed: int) -> Cost:
        return run_ours(engine, batch(seed), args.new, CONSTRAINT if constrained else None)

    rows.append(measure("mlxforge", args.rounds, ours, tokens))
    engine.shut()
    return rows


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m-instruct", help="any that generates")
    parser.add_argument("--shape", help=f"random weights instead: {', '.join(shapes.SHAPES)}")
    parser.add_argument("--rows", type=int, default=32, help="at once")
    parser.add_argument("--prompt", type=int, default=32, help="prompt tokens")
    parser.add_argument("--new", type=int, default=128, help="new tokens")
    parser.add_argument("--rounds", type=int, default=5, help="of both batches")
    parser.add_argument("--rounds-peer", type=int, default=2, help="the same for mlx-lm; 0: none")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args()
    if not report.on_gpu():
        mx.disable_compile()
    rows = compare(args)
    name = f"constraint-{args.shape or args.model}"
    sizes = {"rows_at_once": args.rows, "prompt": args.prompt, "new": args.new}
    report.save(name, rows, args.out, schema=SCHEMA, **sizes)
    kinds = ("unconstrained", "constrained")
    series = {kind: [row[f"{kind} tok/s"] for row in rows] for kind in kinds}
    title = f"{args.shape or args.model}, {args.rows} rows under a JSON Schema"
    report.bars(
        args.out / f"{name}.png", title, [row["engine"] for row in rows], series, "tokens/s"
    )


if __name__ == "__main__":
    main()
