"""The sampler against exact probabilities, and rows against their neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence as Rows
from typing import Any, TypedDict

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from mlxforge.engine.request import GenerationRequest
from mlxforge.engine.sampling import Sampler, seeds
from mlxforge.engine.sequence import Group, Sequence

from .harness import NoText, sampling

VOCAB = 12
LOGITS = np.random.default_rng(5).normal(0, 1.5, VOCAB).astype(np.float32)
DRAWS = 4000


class Penalties(TypedDict, total=False):
    """Those of ``SamplingParams``."""

    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float


@pytest.fixture(scope="module", autouse=True)
def _uncompiled() -> None:
    mx.disable_compile()


def row(
    *,
    prompt: Rows[int] = (1, 2),
    output: Rows[int] = (),
    min_tokens: int = 0,
    ends: Rows[int] = (),
    **parameters: Any,
) -> Sequence:
    """A sequence in the batch whose next token is to be drawn."""
    return Sequence(
        group=Group(GenerationRequest("r"), None),
        index=0,
        prompt=list(prompt),
        sampling=sampling(**{"logprobs": None, **parameters}),
        max_tokens=100,
        min_tokens=min_tokens,
        end_ids=frozenset(ends),
        stop_ids=frozenset(),
        text=NoText(),
        output=list(output),
        launched=len(output),
    )


def draw(
    rows: list[Sequence], logits: NDArray[np.float32], masks: NDArray[np.uint32] | None = None
) -> list[int]:
    """One token for each row; ``logits`` has shape (rows, vocab)."""
    sampler = Sampler(logits.shape[1])
    sampler.arrange(rows)
    inputs = mx.array([(r.prompt + r.output)[-1] for r in rows], mx.uint32)
    tokens: list[int] = np.array(sampler.sample(mx.array(logits), inputs, masks).tokens).tolist()
    return tokens


def frequencies(**parameters: Any) -> NDArray[np.int64]:
    """How often each token is drawn, each time with another seed."""
    rows = [row(seed=seed, **parameters) for seed in range(DRAWS)]
    return np.bincount(draw(rows, np.tile(LOGITS, (DRAWS, 1))), minlength=VOCAB)


def exact(
    temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> NDArray[np.float64]:
    """The distribution that the schema describes, computed plainly."""
    scaled = LOGITS.astype(np.float64) / temperature
    probabilities = np.exp(scaled - scaled.max())
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities)
    allowed = np.ones(VOCAB, bool)
    if top_k:
        allowed[order[top_k:]] = False
    if top_p < 1:
        left = np.where(allowed, probabilities, 0)
        left /= left.sum()
        before = np.cumsum(left[order]) - left[order]
        allowed[order[before >= top_p]] = False
    allowed &= probabilities >= min_p * probabilities.max()
    left = np.where(allowed, probabilities, 0)
    result: NDArray[np.float64] = left / left.sum()
    return result


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.5},
        {"top_k": 1},
        {"top_k": 4},
        {"top_p": 0.6},
        {"top_p": 0.05},
        {"min_p": 0.2},
        {"top_k": 6, "top_p": 0.8},
        {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "min_p": 0.05},
    ],
)
def test_distribution(parameters: dict[str, Any]) -> None:
    wanted = exact(**parameters) * DRAWS
    drawn = frequencies(**{"temperature": 1.0, **parameters})
    assert drawn[wanted == 0].sum() == 0, "a token outside the limits was drawn"
    # The statistic wants no cell of a few draws: those go together.
    rare = wanted < 10
    cells = [
        *zip(drawn[~rare], wanted[~rare], strict=True),
        (drawn[rare].sum(), wanted[rare].sum()),
    ]
    chi = sum((seen - mean) ** 2 / mean for seen, mean in cells if mean > 0)
    freedom = sum(mean > 0 for _, mean in cells) - 1
    # Not beyond five standard deviations of the chi-square distribution.
    assert chi <= freedom + 5 * math.sqrt(2 * freedom) + 1e-9


def mixed() -> list[Sequence]:
    """Rows that have every kind of parameter."""
    return [
        row(),
        row(temperature=1.0, seed=1),
        row(temperature=0.8, seed=2, top_p=0.7),
        row(temperature=1.2, seed=3, top_k=3),
        row(temperature=1.0, seed=4, min_p=0.3),
        row(temperature=1.0, seed=5, repetition_penalty=1.5, output=[3, 4, 4]),
        row(presence_penalty=1.0, frequency_penalty=0.5, output=[7]),
        row(logit_bias=((3, 100.0),)),
        row(temperature=1.0, seed=6, logit_bias=((5, -100.0), (6, 3.0))),
        row(min_tokens=3, ends=(2, 9), logit_bias=((2, 50.0),)),
        row(temperature=0.9, seed=2**63 + 11, top_k=5, top_p=0.9, min_p=0.1),
    ]


def test_rows_do_not_influence_each_other() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        rows = mixed()
        logits = random.normal(0, 2, (len(rows), 500)).astype(np.float32)
        alone = [draw([r], logits[i : i + 1])[0] for i, r in enumerate(mixed())]
        order = random.permutation(len(rows))
        together = draw([rows[i] for i in order], logits[order])
        assert [alone[i] for i in order] == together


def test_a_row_leaves_nothing_to_the_next_in_its_place() -> None:
    """Slot reset: one sampler through many batches gives what a new one would."""
    random = np.random.default_rng(4)
    sampler = Sampler(300)
    for _ in range(30):
        rows = [r for r in mixed() if random.random() < 0.5] or [row()]
        random.shuffle(rows)
        logits = random.normal(0, 2, (len(rows), 300)).astype(np.float32)
        sampler.arrange(rows)
        inputs = mx.array([(r.prompt + r.output)[-1] for r in rows], mx.uint32)
        reused = np.array(sampler.sample(mx.array(logits), inputs).tokens).tolist()
        assert reused == draw(rows, logits)


@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
def test_thresholds_of_a_large_vocabulary(spread: float) -> None:
    """Whatever shortcut is taken for sorting, only allowed tokens are drawn, and all of them."""
    vocab, draws = 5000, 64
    logits = np.random.default_rng(6).normal(0, spread, vocab).astype(np.float32)
    probabilities = np.exp(logits.astype(np.float64) - logits.max())
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities)
    before = np.cumsum(probabilities[order]) - probabilities[order]
    nucleus = set(order[before < 0.9 + 1e-6].tolist())
    limits: list[dict[str, Any]] = [{"top_p": 0.9}, {"top_k": 40}, {"top_k": 4999}, {"top_p": 0.9}]
    rows = [row(temperature=1.0, seed=seed, **limits[seed % len(limits)]) for seed in range(draws)]
    tokens = draw(rows, np.tile(logits, (draws, 1)))
    for seed, token in enumerate(tokens):
        limit = limits[seed % len(limits)]
        allowed = nucleus if "top_p" in limit else set(order[: limit["top_k"]].tolist())
        assert token in allowed
    # A batch of one kind only gives the same as the mixed one.
    for kind in range(len(limits)):
        own = [r for seed, r in enumerate(rows) if seed % len(limits) == kind]
        assert draw(own, np.tile(logits, (len(own), 1))) == tokens[kind :: len(limits)]


def test_equal_seeds_and_positions_draw_alike_others_do_not() -> None:
    logits = np.zeros((3, 1000), np.float32)
    first, again, other = draw(
        [row(temperature=1.0, seed=9), row(temperature=1.0, seed=9), row(temperature=1.0, seed=8)],
        logits,
    )
    assert first == again != other
    later = row(temperature=1.0, seed=9, output=[1])
    assert draw([later], logits[:1]) != [first]
    keys = seeds.keys([9] * 1000 + list(range(1000)), list(range(1000)) + [0] * 1000)
    assert len({tuple(key) for key in keys.tolist()}) == 1999  # (9, 0) is twice


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("parameters", [{"top_k": 1}, {"top_k": 1, "top_p": 0.5}, {"top_p": 1e-9}])
def test_one_token_left_to_draw(rows: int, parameters: dict[str, Any]) -> None:
    batch = [row(temperature=1.0, seed=seed, **parameters) for seed in range(rows)]
    assert draw(batch, np.tile(LOGITS, (rows, 1))) == [int(LOGITS.argmax())] * rows


@pytest.mark.parametrize("temperature", [1e-45, 1e-12, 1e-6])
def test_the_coldest_temperatures_are_greedy(temperature: float) -> None:
    assert draw([row(temperature=temperature, seed=1)], LOGITS[None]) == [int(LOGITS.argmax())]


def test_masks() -> None:
    """Bit masks, one row a constrained one: only set bits are drawn."""

    class Grammar:
        pass

    vocab, rows = 70, []
    for seed in range(6):
        one = row(temperature=1.0 if seed % 2 else 0.0, seed=seed)
        # The sampler only looks whether there is one.
        one.grammar = Grammar() if seed < 3 else None  # type: ignore[assignment]
        rows.append(one)
    allowed = [[0, 69], [31, 32], [64]]
    masks = np.zeros((3, 3), np.uint32)
    for place, ids in enumerate(allowed):
        for token in ids:
            masks[place, token // 32] |= np.uint32(1 << (token % 32))
    logits = np.random.default_rng(7).normal(0, 1, (6, vocab)).astype(np.float32)
    tokens = draw(rows, logits, masks)
    assert all(token in ids for token, ids in zip(tokens, allowed, strict=False))
    assert tokens[3:] == draw(rows[3:], logits[3:])
    assert tokens[0] == max(allowed[0], key=lambda token: logits[0, token])


def penalized(
    logits: NDArray[np.float32], prompt: list[int], output: list[int], parameters: Penalties
) -> int:
    """The schema's penalties, one token after the other."""
    x = logits.astype(np.float64)
    for token in set(prompt) | set(output):
        factor = parameters.get("repetition_penalty", 1.0)
        x[token] = x[token] / factor if x[token] > 0 else x[token] * factor
    for token in set(output):
        x[token] -= parameters.get("presence_penalty", 0.0)
        x[token] -= parameters.get("frequency_penalty", 0.0) * output.count(token)
    return int(x.argmax())


@pytest.mark.parametrize(
    "parameters",
    [
        {"repetition_penalty": 1.3},
        {"presence_penalty": 0.7},
        {"frequency_penalty": 0.4},
        {"repetition_penalty": 0.8, "presence_penalty": -0.5, "frequency_penalty": 0.9},
    ],
)
def test_penalties_follow_the_output(parameters: Penalties) -> None:
    """Step by step, with neighbours that come and go."""
    random = np.random.default_rng(8)
    sampler = Sampler(VOCAB)
    one = row(prompt=[1, 5, 5], **parameters)
    other = row(prompt=[2], frequency_penalty=1.5)
    tokens = mx.array([5], mx.uint32)
    for step in range(25):
        batch = [one] if step % 5 < 2 else [other, one]
        if step % 5 in (0, 2):
            sampler.arrange(batch)
        logits = random.normal(0, 1, (len(batch), VOCAB)).astype(np.float32)
        wanted = [penalized(logits[i], s.prompt, s.output, vars_of(s)) for i, s in enumerate(batch)]
        inputs = mx.array([(s.prompt + s.output)[-1] for s in batch], mx.uint32)
        tokens = sampler.sample(mx.array(logits), inputs).tokens
        assert np.array(tokens).tolist() == wanted
        for sequence, token in zip(batch, wanted, strict=True):
            sequence.output.append(token)
            sequence.launched += 1


def vars_of(sequence: Sequence) -> Penalties:
    own = sequence.sampling
    return {
        "repetition_penalty": own.repetition_penalty,
        "presence_penalty": own.presence_penalty,
        "frequency_penalty": own.frequency_penalty,
    }


def test_a_row_that_was_put_back_counts_anew() -> None:
    """Tokens drawn for a row and dropped when it was put back are not counted."""
    sampler = Sampler(VOCAB)
    one = row(prompt=[1], output=[3], frequency_penalty=1.0)
    logits = np.zeros((1, VOCAB), np.float32)
    sampler.arrange([one])
    for token in (3, 4, 4):  # 4 is launched twice and never read
        sampler.sample(mx.array(logits), mx.array([token], mx.uint32))
        one.launched += 1
    one.epoch += 1
    one.launched = 1
    sampler.arrange([one])
    sampler.sample(mx.array(logits), mx.array([3], mx.uint32))
    counts = np.array(sampler.penalties._counts)[0]
    assert counts.tolist() == [0, 0, 0, 1, *[0] * (VOCAB - 4)]


def test_min_tokens_block_the_end() -> None:
    logits = np.zeros((1, VOCAB), np.float32)
    logits[0, 4] = 9
    one = row(min_tokens=2, ends=(4,))
    for expected in (False, False, True):
        assert (draw([one], logits) == [4]) is expected
        one.launched += 1


def test_logprobs_are_those_of_the_adjusted_distribution() -> None:
    rows = [row(), row(logprobs=0), row(logprobs=5, temperature=1.0, seed=3)]
    logits = np.tile(LOGITS, (3, 1))
    sampler = Sampler(VOCAB)
    sampler.arrange(rows)
    sampled = sampler.sample(mx.array(logits), mx.array([1, 1, 1], mx.uint32))
    tokens = np.array(sampled.tokens).tolist()
    wanted = LOGITS - np.log(np.exp(LOGITS.astype(np.float64)).sum())
    assert sampled.logprobs is not None and sampled.logprobs.rows == (1, 2)
    chosen = np.array(sampled.logprobs.chosen)
    assert np.allclose(chosen, wanted[tokens[1:]], atol=1e-5)
    ids = np.array(sampled.logprobs.top_ids)[1]
    assert sorted(ids.tolist()) == sorted(np.argsort(-LOGITS)[:5].tolist())
    assert np.allclose(np.array(sampled.logprobs.top_values)[1], wanted[ids], atol=1e-5)
