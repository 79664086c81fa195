"""First steps at load, so that no request pays for preparing kernels."""

from __future__ import annotations

import time
from collections.abc import Callable

import mlx.core as mx

from .core import EngineCore
from .model.runner import Prefill

# Decode steps are tried at every width that the runner computes at: running streams would wait
# for a new one, 15 ms each on an H200 and 0.3 to 1.7 s where a product's kernel comes from disk.
_PROMPT = 128
_STEPS = 3
# (prompts, tokens) of the prefills that a GPU's kernels are chosen for beforehand, 50 ms each.
_PREFILLS_GPU = (
    *((1, length) for length in (64, 192, 256, 384, 512, 1024, 2048)),
    *((rows, _PROMPT) for rows in (2, 4, 8, 16, 32, 64)),
)


def warm_up(core: EngineCore, max_model_len: int, check: Callable[[], None]) -> None:
    """Prefill and decode filler, and tell the pace what it took. On the MLX thread.

    ``check`` is called between the steps; what it raises ends the load.
    """
    runner, pace = core.runner, core.pace
    if runner.shapes.unit > 1:
        _prefills(core, max_model_len, check)
    for width in runner.widths(core.config.max_running_requests):
        if runner.cost(width, 2 * _PROMPT) > core.memory.total:
            break
        prefill = _measured(core, 1, _PROMPT, check)
        runner.reserve(width, 2 * _PROMPT, 0)
        runner.join(prefill, [0] * width, [_PROMPT] * width)
        tokens = mx.zeros((runner.width(width),), mx.uint32)
        for step in range(_STEPS):
            check()
            started = time.perf_counter()
            logits = runner.decode(tokens, [_PROMPT + step] * width)
            mx.eval(mx.argmax(logits, axis=-1))
            pace.decode_seconds = time.perf_counter() - started
        runner.keep([])
        runner.release()
    mx.clear_cache()


def _prefills(core: EngineCore, max_model_len: int, check: Callable[[], None]) -> None:
    for rows, length in _PREFILLS_GPU:
        fits = core.runner.prefill_cost(rows, length) <= core.memory.total
        if fits and length <= max_model_len:
            _measured(core, rows, length, check)


def _measured(core: EngineCore, rows: int, length: int, check: Callable[[], None]) -> Prefill:
    """A prefill of filler, twice: the first time prepares kernels, the second one is measured."""
    for _ in range(2):
        check()
        prefill = core.runner.open(rows, length)
        started = time.perf_counter()
        core.runner.advance(prefill, [[0] * length] * rows)
        mx.synchronize()
        took = time.perf_counter() - started
    core.pace.chunk_time.add(rows * length, took)
    return prefill
