# ruff: noqa: E402 - MLX is imported after the BLAS
"""Embedding throughput beside sentence-transformers: same texts, same machine, same run.

Every figure is texts per second from strings to f32 vectors in NumPy, tokenizing included,
one call after the other. Both get the texts of a call at once; "mixed" is one corpus of
uneven lengths in calls of 2,048. sentence-transformers batches by the call's size, at most
512. Ours goes the way of a served request: scheduler, tokenizer threads, device thread.

    python -m bench.embedding --out /tmp/embedding                       # what is here
    python -m bench.embedding --model models/minilm --dtypes float32,bfloat16 --out bench/results

sentence-transformers is measured where it is installed: on its GPU in every dtype, and on its
CPU in f32. Needs no gRPC.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mlxforge.engine import blas

blas.preload()

import mlx.core as mx
import numpy as np
import tokenizers

from bench import report
from mlxforge.engine.device import DeviceThread
from mlxforge.engine.embedding.batching import BatchPolicy
from mlxforge.engine.embedding.model import build_encoder, encoder_model
from mlxforge.engine.embedding.scheduler import EmbeddingScheduler
from mlxforge.engine.embedding.warmup import warm_up
from mlxforge.engine.kernels.cpu import is_slow_cpu, use_one_blas_thread
from mlxforge.engine.request import EmbeddingRequest

CORPUS = Path(__file__).parent.parent / "tests/engine/embedding/texts.json"
LARGEST_CALL = 2048
PEER_BATCH = 512

Embed = Callable[[Sequence[str]], "np.ndarray[Any, Any]"]
Opening = Callable[[], tuple[Embed, Callable[[], None]]]
"""How to embed, and how to let go of the model."""


def make_texts(count: int, words: int | None) -> list[str]:
    """Texts of ``words`` words (None: 2 to 100, most of them short) of real English."""
    corpus: list[str] = json.loads(CORPUS.read_text("utf-8"))
    vocabulary = next(text for text in corpus if len(text) == 10_000).split()
    source = random.Random(7)
    sizes = [words or min(100, 2 + int(source.expovariate(1 / 20))) for _ in range(count)]
    return [" ".join(source.choices(vocabulary, k=size)) for size in sizes]


def ours(folder: Path, dtype: str, streams: int) -> tuple[Embed, Callable[[], None]]:
    """Our engine: how to embed, and how to let go of the model."""
    device = DeviceThread.shared()

    def load() -> EmbeddingScheduler:
        config = json.loads((folder / "config.json").read_text())
        weights = mx.load(str(folder / "model.safetensors"))
        assert isinstance(weights, dict)  # other formats hold one array, or metadata beside them
        backbone: Any = build_encoder(config, weights)
        backbone.set_dtype(getattr(mx, dtype))
        mx.eval(backbone.parameters())
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        model = encoder_model(backbone, tokenizer, folder)
        policy = BatchPolicy.of_device(streams)
        scheduler = EmbeddingScheduler(model, policy=policy, wake=device.wake)
        warm_up(model, policy)
        return scheduler

    scheduler = device.call(load).result()
    device.attach(scheduler)

    def embed(texts: Sequence[str]) -> np.ndarray[Any, Any]:
        calls = [texts[at : at + LARGEST_CALL] for at in range(0, len(texts), LARGEST_CALL)]
        futures = [
            scheduler.submit(EmbeddingRequest("bench", tuple(call), truncate=True))
            for call in calls
        ]
        return np.concatenate([future.result().vectors for future in futures])

    def close() -> None:
        device.detach(scheduler)
        device.call(scheduler.close).result()
        device.call(mx.clear_cache).result()

    return embed, close


def peer(folder: Path, device: str, dtype: str) -> tuple[Embed, Callable[[], None]]:
    """sentence-transformers on ``cuda`` or ``cpu``."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device=device).to(getattr(torch, dtype))

    def embed(texts: Sequence[str]) -> np.ndarray[Any, Any]:
        size = min(len(texts), PEER_BATCH)
        vectors = model.encode(
            list(texts), batch_size=size, normalize_embeddings=True, show_progress_bar=False,
            convert_to_numpy=False, convert_to_tensor=True,
        )  # fmt: skip
        found: np.ndarray[Any, Any] = vectors.float().cpu().numpy()
        return found

    return embed, lambda: None


def measure(embed: Embed, texts: Sequence[str], seconds: float) -> float | None:
    """Texts per second: the median of some calls. None when one call takes too long."""
    started = time.perf_counter()
    embed(texts)
    first = time.perf_counter() - started
    if first > 10 * seconds:  # warm or not, it is that slow
        return len(texts) / first
    times: list[float] = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < 200):
        started = time.perf_counter()
        embed(texts)
        times.append(time.perf_counter() - started)
    return len(texts) / statistics.median(times)


def engines(args: argparse.Namespace, streams: int) -> dict[str, Opening]:
    """By column, how to open each engine."""
    here = "GPU" if mx.default_device().type == mx.DeviceType.gpu else "CPU"
    found: dict[str, Opening] = {}
    for dtype in args.dtypes.split(","):
        found[f"mlxforge {here} {dtype}"] = partial(ours, args.model, dtype, streams)
    if importlib.util.find_spec("sentence_transformers") is None:
        return found
    import torch

    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    if torch.cuda.is_available():
        for dtype in args.dtypes.split(","):
            found[f"s-t GPU {dtype}"] = partial(peer, args.model, "cuda", dtype)
    found["s-t CPU float32"] = partial(peer, args.model, "cpu", "float32")
    return found


def run(args: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """A row for each length and call size, and each engine's distance from the last one."""
    streams = 1
    if is_slow_cpu() and use_one_blas_thread():
        streams = os.cpu_count() or 1
    cases: list[tuple[int | None, int]] = [(w, b) for w in args.words for b in args.batches]
    cases.append((None, args.corpus))
    texts = {case: make_texts(case[1], case[0]) for case in cases}
    sample = make_texts(256, None)
    rows: list[dict[str, Any]] = [
        {"words": words or "mixed", "texts": count} for words, count in cases
    ]
    vectors: dict[str, np.ndarray[Any, Any]] = {}
    for name, opened in engines(args, streams).items():
        started = time.perf_counter()
        embed, close = opened()
        vectors[name] = embed(sample)
        print(f"{name}: ready after {time.perf_counter() - started:.1f} s", flush=True)
        # A CPU's large calls would take the whole run.
        most = args.cpu_tokens if "CPU" in name else None
        for row, case in zip(rows, cases, strict=True):
            words, count = case
            if most is None or count * (words or 22) * 1.4 <= most:
                row[name] = measure(embed, texts[case], args.seconds)
        close()
    *_, reference = vectors.values()
    distances = {
        name: float((1 - (found * reference).sum(axis=1)).max()) for name, found in vectors.items()
    }
    return rows, distances


def plot(path: Path, rows: Sequence[dict[str, Any]], title: str) -> None:
    """Texts per second over the size of a call, a panel for each length."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("matplotlib is not installed: no plot was drawn")
        return
    lengths = list(dict.fromkeys(row["words"] for row in rows if row["words"] != "mixed"))
    names = [key for key in rows[0] if key not in ("words", "texts")]
    figure, panels = plt.subplots(
        1, len(lengths), figsize=(4.5 * len(lengths), 4.2), sharey=True, squeeze=False
    )
    for axes, length in zip(panels[0], lengths, strict=True):
        for name in names:
            points = [
                (row["texts"], row[name]) for row in rows
                if row["words"] == length and row.get(name) is not None
            ]  # fmt: skip
            if points:
                style = "o-" if name.startswith("mlxforge") else "s--"
                axes.plot(*zip(*points, strict=True), style, label=name, markersize=4)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_title(f"{length} words")
        axes.set_xlabel("texts a call")
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("texts per second")
    panels[0][0].legend(fontsize=7)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure, print, write ``embedding.json`` and ``embedding.png``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", type=Path, help="folder of the encoder (the packaged MiniLM)")
    parser.add_argument("--dtypes", default="float32")
    parser.add_argument("--words", type=_numbers, default=[8, 32, 128])
    parser.add_argument("--batches", type=_numbers, default=[1, 8, 64, 512, 2048])
    parser.add_argument("--corpus", type=int, default=8192, help="texts of the mixed corpus")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each figure, at least")
    parser.add_argument("--cpu-tokens", type=int, default=30_000, help="largest call on a CPU")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args()
    if args.model is None:
        from mlxforge.engine.loader import resolve

        args.model = resolve("all-minilm-l6-v2")
    rows, distances = run(args)
    report.save("embedding", rows, args.out, largest_cosine_distance=distances)
    for name, distance in distances.items():
        print(f"largest cosine distance of {name}: {distance:.1e}")
    environment = report.environment()
    plot(args.out / "embedding.png", rows, f"{args.model.name} on {environment['device']}")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
