"""Every architecture of mlx-lm, batched, against mlx-lm's own greedy loop, in f32.

Rows of all lengths join and leave the batch at different steps; each must give the tokens,
and the log probabilities, of the same request alone. What cannot be batched must be refused
by name. Weights are random and the models tiny: only the computation is compared.
"""

from __future__ import annotations

import functools
import gc
import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import mlx_lm.models
import numpy as np
import pytest
from mlx_lm.models.cache import (
    BatchKVCache,
    BatchRotatingKVCache,
    KVCache,
    RotatingKVCache,
    make_prompt_cache,
)

from mlxforge.engine.assembly import make_runner
from mlxforge.engine.config import EngineConfig
from mlxforge.engine.errors import Unsupported
from mlxforge.engine.model import caches
from mlxforge.engine.model.caches import CacheRunner
from mlxforge.engine.model.runner import Runner
from mlxforge.engine.model.shapes import PrefillShapes
from mlxforge.engine.model.slots import SlotRunner
from mlxforge.engine.warmup import warm_up

from .architectures import ARCHITECTURES, NOT_HERE, VOCAB, configuration
from .harness import Answer, Harness

HERE = [name for name in ARCHITECTURES if name not in NOT_HERE]
# What mlx-lm itself computes differently in one piece and in chunks: compared chunk by chunk.
CHUNKED = {"plamo3": "the window of its prefill is one longer than that of its cache"}
CHUNK = 16
REFUSED = {
    "afm7",
    "deepseek_v41",
    "gpt_bigcode",
    "llama4",
    "longcat_flash_ngram",
    "minimax_m3_vl",
    "phi3small",
}
# One of each kind of state, for what need not be shown on all: plain, fused, latent, sliding,
# state-space, hybrid.
KINDS = ["llama", "qwen3", "gemma2", "deepseek_v3", "gemma3_text", "mamba2", "qwen3_next"]


@dataclass(frozen=True)
class Case:
    """A request of ``prompt`` tokens that arrives before step ``arrival``."""

    prompt: tuple[int, ...]
    max_tokens: int
    arrival: int


def _cases() -> list[Case]:
    # Lengths: a single token, below, at and beyond a window of 8, beyond two chunks of 16.
    shapes = [(1, 10, 0), (3, 6, 0), (20, 12, 2), (8, 3, 3), (40, 8, 5), (2, 14, 7)]
    random = np.random.default_rng(0)
    return [
        Case(tuple(random.integers(0, VOCAB, length).tolist()), count, arrival)
        for length, count, arrival in shapes
    ]


CASES = _cases()


@pytest.fixture(scope="module", autouse=True)
def _uncompiled() -> None:
    """As the engine does on CPU."""
    mx.disable_compile()


def build(name: str) -> Any:
    """A model with random weights."""
    module = importlib.import_module(f"mlx_lm.models.{name}")
    mx.random.seed(1)
    model = module.Model(module.ModelArgs.from_dict(configuration(name)))
    model.eval()
    mx.eval(model.parameters())
    return model


def runner_of(model: Any, name: str, *, fuse: bool = True) -> Runner:
    loaded: Any = SimpleNamespace(
        model=model, architecture=name, config=configuration(name), max_model_len=4096
    )
    return make_runner(loaded, EngineConfig(fuse_projections=fuse))[0]


def reference(model: Any, case: Case, chunk: int) -> tuple[list[int], list[float]]:
    """mlx-lm's own greedy loop: tokens and their log probabilities."""
    from mlx_lm.generate import generate_step

    tokens, logprobs = [], []
    steps = generate_step(
        mx.array(case.prompt),
        model,
        max_tokens=case.max_tokens,
        prefill_step_size=chunk,
        prompt_cache=make_prompt_cache(model),
    )
    for token, distribution in steps:
        tokens.append(int(token))
        logprobs.append(float(distribution[int(token)]))
    return tokens, logprobs


@functools.cache
def references(name: str) -> tuple[tuple[list[int], list[float]], ...]:
    model = build(name)
    chunk = CHUNK if name in CHUNKED else 2048
    return tuple(reference(model, case, chunk) for case in CASES)


def run(harness: Harness, cases: list[Case], **options: Any) -> list[Answer]:
    """Submit each case at its step and run to the end."""
    answers: dict[int, Answer] = {}
    step = 0
    while True:
        for place, case in enumerate(cases):
            if case.arrival == step:
                answers[place] = harness.submit(case.prompt, case.max_tokens, **options)
        worked = harness.step()
        step += 1
        if not worked and len(answers) == len(cases):
            return [answers[place] for place in range(len(cases))]
        assert step < 5000, "it does not come to an end"


def check(answer: Answer, expected: tuple[list[int], list[float]]) -> None:
    assert answer.error is None
    tokens, logprobs = expected
    for row, values in zip(answer.tokens, answer.logprobs, strict=True):
        assert row == tokens
        assert np.abs(np.array(values) - np.array(logprobs)).max() < 1e-3


def test_every_module_of_mlx_lm_is_here() -> None:
    folder = Path(mlx_lm.models.__path__[0])
    modules = {path.stem for path in folder.glob("*.py") if "class Model(" in path.read_text()}
    assert modules <= set(ARCHITECTURES) and set(NOT_HERE) | REFUSED <= set(ARCHITECTURES)


@pytest.mark.parametrize("name", [name for name in HERE if name not in REFUSED])
def test_ragged_batch(name: str) -> None:
    harness = Harness(runner_of(build(name), name), VOCAB, chunk=CHUNK)
    for answer, expected in zip(run(harness, CASES), references(name), strict=True):
        check(answer, expected)
    harness.check_resting()


@pytest.mark.parametrize("name", ["llama", "qwen3", "deepseek_v3", "gemma2"])
def test_prompts_filled_up_to_few_shapes(name: str) -> None:
    """As on a GPU, with smaller steps: what fills them up must not show."""
    runner = runner_of(build(name), name)
    runner.shapes = PrefillShapes(4)
    harness = Harness(runner, VOCAB, chunk=CHUNK)
    for answer, expected in zip(run(harness, CASES), references(name), strict=True):
        check(answer, expected)
    harness.check_resting()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused(name: str) -> None:
    with pytest.raises(Unsupported, match=name) as caught:
        runner_of(build(name), name)
    assert caught.value.reason == "ARCHITECTURE_NOT_BATCHABLE"


def test_count(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = {}
    for name in sorted(REFUSED):
        with pytest.raises(Unsupported) as caught:
            runner_of(build(name), name)
        reasons[name] = caught.value.message
    with capsys.disabled():
        print(
            f"\n{len(HERE) - len(REFUSED)} of {len(ARCHITECTURES)} architectures are batched"
            f" exactly, {len(REFUSED)} are refused, {len(NOT_HERE)} cannot be run here"
        )
        for name, reason in {**reasons, **NOT_HERE}.items():
            print(f"  {name}: {reason}")


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_unfused(name: str) -> None:
    """The model classes' own forward pass under slots: what a fused one must equal."""
    harness = Harness(runner_of(build(name), name, fuse=False), VOCAB, chunk=CHUNK)
    for answer, expected in zip(run(harness, CASES), references(name), strict=True):
        check(answer, expected)


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_a_step_in_two_halves(name: str) -> None:
    """As it is launched where masks are filled meanwhile."""
    called = []
    logits = []
    for midway in (None, lambda: called.append(1)):
        runner = runner_of(build(name), name)
        prefill = runner.open(2, 4)
        runner.advance(prefill, [[5, 6, 7, 8], [9, 10, 0, 0]])
        runner.reserve(2, 16, 0)
        runner.join(prefill, [0, 1], [4, 2])
        logits.append(np.array(runner.decode(mx.array([3, 4]), [4, 2], midway)))
    assert (logits[0] == logits[1]).all() and called == [1]


@pytest.mark.parametrize("name", ["llama", "gemma", "deepseek_v3", "olmoe"])
def test_general_runner_serves_plain_caches_too(name: str) -> None:
    harness = Harness(CacheRunner(build(name), name), VOCAB, chunk=CHUNK)
    for answer, expected in zip(run(harness, CASES), references(name), strict=True):
        check(answer, expected)
    harness.check_resting()


@pytest.mark.parametrize("name", KINDS)
def test_choices_share_one_prefill(name: str) -> None:
    harness = Harness(runner_of(build(name), name), VOCAB, chunk=CHUNK)
    for answer, expected in zip(run(harness, CASES, n=3), references(name), strict=True):
        check(answer, expected)
    assert harness.core.stats.prompt_tokens == sum(len(case.prompt) - 1 for case in CASES)
    harness.check_resting()


@pytest.mark.parametrize("name", KINDS)
def test_preempted_rows_go_on_where_they_were(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory for two requests of full length, of three the youngest are recomputed.

    They are drawn by seed, so that a position lost or repeated shows in all that follow.
    """
    for cache in (KVCache, RotatingKVCache, BatchKVCache, BatchRotatingKVCache):
        monkeypatch.setattr(cache, "step", 16)
    monkeypatch.setattr(caches, "_GROWTH", 16)
    runner = runner_of(build(name), name)
    random = np.random.default_rng(1)
    cases = [Case(tuple(random.integers(0, VOCAB, 30).tolist()), 170, 4 * i) for i in range(3)]
    drawn = {"temperature": 1.0, "seed": 7, "top_p": 0.95, "frequency_penalty": 0.2}
    alone = [
        run(Harness(runner, VOCAB, chunk=CHUNK), [replace(c, arrival=0)], **drawn) for c in cases
    ]
    total = runner.cost(1, 200) + runner.prefill_cost(1, 200)
    together = Harness(runner, VOCAB, chunk=CHUNK, total=total)
    for answer, (expected,) in zip(run(together, cases, **drawn), alone, strict=True):
        assert answer.error is None and answer.tokens == expected.tokens
    together.check_resting()
    # State-space and sliding layers hardly grow with the length.
    assert together.core.stats.preemptions > 0 or name in ("mamba2", "gemma3_text")


@pytest.mark.parametrize("unit", [1, 8])
@pytest.mark.parametrize("name", ["llama", "qwen3", "deepseek_v3", "gemma2"])
def test_shared_prefixes_give_the_tokens_of_a_cold_run(name: str, unit: int) -> None:
    runner = runner_of(build(name), name)
    runner.shapes = PrefillShapes(unit)
    random = np.random.default_rng(2)
    shared = random.integers(0, VOCAB, 35).tolist()
    cases = [
        Case((*shared, *random.integers(0, VOCAB, length).tolist()), 8, arrival)
        for arrival, length in enumerate((1, 5, 20, 40))
    ]
    cold = Harness(runner, VOCAB, chunk=CHUNK)
    warm = Harness(runner, VOCAB, chunk=CHUNK, block=8)
    first = run(warm, cases)
    again = run(warm, cases)
    for expected, answer, repeated in zip(run(cold, cases), first, again, strict=True):
        assert answer.tokens == repeated.tokens == expected.tokens
    for case, answer in zip(cases, again, strict=True):
        whole_blocks = (len(case.prompt) - 1) // 8 * 8
        used = runner.shapes.resume(len(case.prompt) - 1, whole_blocks) // 8 * 8
        assert answer.finishes[0].usage.cached_tokens == used > 0
    assert warm.core.stats.prompt_tokens < cold.core.stats.prompt_tokens * 2 / 1.5
    warm.check_resting()


@pytest.mark.parametrize("max_model_len", [4096, 300])
def test_warming_up_as_on_a_gpu(max_model_len: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefills of all shapes that are prepared, none longer than the model knows; all widths."""
    runner = runner_of(build("llama"), "llama")
    assert isinstance(runner, SlotRunner)
    runner.shapes = PrefillShapes(64, max_model_len)
    runner.on_gpu = True
    shapes = []
    widths: set[int] = set()
    advance, decode = runner.advance, runner.decode

    def noted(prefill: Any, tokens: Any) -> None:
        shapes.append((len(tokens), len(tokens[0])))
        advance(prefill, tokens)

    def counted(tokens: mx.array, lengths: Any) -> mx.array:
        widths.add(tokens.shape[0])
        return decode(tokens, lengths)

    monkeypatch.setattr(runner, "advance", noted)
    monkeypatch.setattr(runner, "decode", counted)
    harness = Harness(runner, VOCAB, rows=40)
    checks: list[int] = []
    warm_up(harness.core, max_model_len, lambda: checks.append(1))
    assert max(length for _, length in shapes) == (2048 if max_model_len == 4096 else 256)
    assert {rows for rows, _ in shapes} == {1, 2, 4, 8, 16, 32, 64} and len(checks) >= len(shapes)
    assert widths == {1, 2, 4, 8, 16, 24, 32, 48}
    assert harness.core.pace.decode_seconds > 0 < harness.core.pace.chunk_time.of(64)
    harness.check_resting()


def test_device_memory_stays_within_the_budget(request: pytest.FixtureRequest) -> None:
    """What MLX really holds, not only what is booked: waves of rows, long and short prompts."""
    name = "llama"
    runner = runner_of(build(name), name)
    total = 8 * runner.cost(1, 256)
    harness = Harness(runner, VOCAB, chunk=64, total=total, block=16, rows=12)
    random = np.random.default_rng(5)
    mx.synchronize()
    gc.collect()
    resting, held = mx.get_active_memory(), 0
    gc.disable()  # nothing may wait for the collection of cycles
    request.addfinalizer(gc.enable)
    for wave in range(4):
        for _ in range(10):
            length = int(random.choice([1, 20, 150, 300]))
            harness.submit(random.integers(0, VOCAB, length).tolist(), int(random.integers(1, 90)))
        for _ in range(60 if wave < 3 else 5000):
            worked = harness.step()
            held = max(held, mx.get_active_memory() - resting)
            if not worked:
                break
    harness.check_resting()
    # Beside it there are a step's activations, and one layer twice while slots are resized.
    assert harness.peak <= total and total / 2 < held < total * 1.3 + (4 << 20)
    assert harness.prefix is not None
    harness.prefix.evict(harness.prefix.nbytes)
    mx.synchronize()
    assert mx.get_active_memory() - resting < 1 << 20
