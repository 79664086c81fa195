# ruff: noqa: E402 - MLX is imported after the BLAS
"""Where a decode step's time goes, per class of operation, beside the whole step.

Each class is run alone for all layers of the model (so that weights come from memory as in
a real step) and timed; the rest of the step is launching, sampling and Python.

    python -m bench.profile --shape 135m --rows 16 --context 192
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlxforge.engine import blas

blas.preload()

import mlx.core as mx
import numpy as np

from bench import report, shapes
from mlxforge.engine.kv.layout import KVLayout, LayerLayout
from mlxforge.engine.kv.ragged import RaggedLayer, RaggedSlots
from mlxforge.engine.model import llama
from mlxforge.engine.model.slots import SlotRunner


def timed(run: Callable[[], list[mx.array]], repeats: int = 12) -> float:
    """Median milliseconds of what ``run`` builds, compiled, so that building counts little."""
    if mx.default_device().type == mx.DeviceType.gpu:
        run = mx.compile(run)
    times = []
    for _ in range(repeats):
        mx.synchronize()
        started = time.perf_counter()
        mx.eval(run())
        mx.synchronize()
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times[2:])


def classes(
    forward: llama.LlamaForward, runner: SlotRunner, rows: int
) -> dict[str, Callable[[], list[mx.array]]]:
    """Operations of a step by class; each builds the arrays of all layers."""
    slots, layers = runner.slots, forward.layers
    dtype = forward.norm.dtype
    width = forward.norm.shape[0]
    x = mx.random.normal((rows, 1, width)).astype(dtype)
    qkv = layers[0].qkv(x)
    both = layers[0].gate_up(x)
    inner = both[..., : both.shape[-1] // 2] * 1
    mixed = mx.random.normal((rows, 1, forward.heads * runner.layout.layers[0].key_dim))
    mixed = mixed.astype(dtype)
    logits = mx.random.normal((rows, forward.head(x).shape[-1])).astype(dtype)
    mx.eval(x, qkv, both, inner, mixed, logits)
    fused = isinstance(slots, RaggedSlots)
    rotations = [rotation for rotation in forward.rotations if rotation is not None]
    assert not fused or len(rotations) == len(layers)  # where the kernels cannot, they are not used

    def attend() -> list[mx.array]:
        mask = None if fused else slots.mask(False, None)
        return [
            entry.attend(qkv, rotations[number], forward.scale)
            if isinstance(entry, RaggedLayer)
            else forward._attend(layers[number], qkv, mask, entry)
            for number, entry in enumerate(slots.layers)
        ]

    return {
        "product qkv": lambda: [layer.qkv(x) for layer in layers],
        "product out": lambda: [layer.out(mixed) for layer in layers],
        "product gate+up": lambda: [layer.gate_up(x) for layer in layers],
        "product down": lambda: [layer.down(inner) for layer in layers],
        "product head": lambda: [forward.head(x)],
        "rotate, write, attend": attend,
        "add + norm": lambda: [
            p
            for layer in layers
            for _ in range(2)
            for p in forward._add_norm(x, x, layer.mlp_norm, fused)
        ],
        "swiglu": lambda: [forward._swiglu(both, fused) for _ in layers],
        "argmax": lambda: [mx.argmax(logits, axis=-1)],
    }


def main() -> None:
    """Profile one shape."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shape", default="135m", choices=sorted(shapes.SHAPES))
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--context", type=int, default=192, help="positions in use, every row")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args()
    on_gpu = mx.default_device().type == mx.DeviceType.gpu
    if not on_gpu:
        mx.disable_compile()
    dtype = mx.bfloat16 if on_gpu else mx.float32
    model = shapes.random_model(args.shape, dtype)
    config = shapes.SHAPES[args.shape]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    dim = config.get("head_dim") or config["hidden_size"] // heads
    layer = LayerLayout(kv_heads, dim, kv_heads, dim, dtype)
    forward = llama.LlamaForward(model)
    runner = SlotRunner(forward, KVLayout((layer,) * config["num_hidden_layers"]))
    runner.slots.resize(args.rows, args.context + 64, 0)
    runner._rows = args.rows
    runner.slots.prepare(np.full(args.rows, args.context, np.int32), args.rows)
    tokens = mx.zeros((args.rows,), mx.uint32)

    def step() -> list[mx.array]:
        return [mx.argmax(runner.decode(tokens, [args.context] * args.rows), axis=-1)]

    whole = timed(step)
    rows: list[dict[str, Any]] = [
        {"class": name, "ms": (ms := timed(run)), "share": ms / whole}
        for name, run in classes(forward, runner, args.rows).items()
    ]
    rows.append(
        {
            "class": "sum of the classes",
            "ms": (ms := sum(r["ms"] for r in rows)),
            "share": ms / whole,
        }
    )
    rows.append({"class": "whole step", "ms": whole, "share": 1.0})
    report.save(
        f"profile-{args.shape}-{args.rows}",
        rows,
        args.out,
        rows_in_batch=args.rows,
        context=args.context,
    )


if __name__ == "__main__":
    main()
