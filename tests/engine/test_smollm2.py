"""A real model through the real engine: what a request gets, alone and in company."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.engine import Engine
from mlxforge.engine.errors import DeadlineExceeded
from mlxforge.engine.loader import load_model
from mlxforge.engine.output import Finish, FinishReason, TokenLogprobs
from mlxforge.engine.request import Chat, GenerationRequest, Message, SamplingParams

BLOCK = 32
PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):\n",
    "Once upon a time, in a small village by the sea,",
    "1, 2, 3, 4,",
    "Dear Sir or Madam,\n\nI am writing to",
    "The three primary colours are",
    "SELECT name FROM",
    "To bake bread you need flour, water,",
    "A",
    "Water boils at 100 degrees Celsius because at that temperature its vapour pressure",
    "Roses are red,",
    "<html>\n<head>\n<title>",
    "Q: What is the largest planet?\nA:",
    "Die Hauptstadt von Deutschland ist",
    "import numpy as np\n\nx = np.",
    "In 1969, Neil Armstrong became the first person to walk on the Moon. His first words were",
]


@dataclass
class Answer:
    """One choice, put together."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finish: Finish | None = None

    @property
    def reason(self) -> FinishReason:
        assert self.finish is not None
        return self.finish.reason


class Serving:
    """The engine on a loop of its own, for tests without one."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.engine = Engine(
            "smollm2-135m-instruct",
            EngineConfig(prefix_block=BLOCK, max_prefill_tokens=64, memory_budget=4 << 30),
        )
        self.runner.run(self.engine.start())
        self._count = 0

    @property
    def core(self) -> Any:
        assert self.engine._assembly is not None
        return self.engine._assembly.core

    @property
    def loaded(self) -> Any:
        assert self.engine._assembly is not None
        return self.engine._assembly.loaded

    def request(self, prompt: str | Chat = PROMPTS[0], **fields: Any) -> GenerationRequest:
        """Greedy, 12 tokens, nothing shared with other requests' prefixes, unless told."""
        self._count += 1
        name = f"r{self._count}"
        params = SamplingParams(**{"temperature": 0.0, **fields.pop("params", {})})
        source = {"chat" if isinstance(prompt, Chat) else "prompt": prompt}
        fields = {"max_tokens": 12, "cache_salt": name, **source, **fields}
        return GenerationRequest(name, sampling_params=params, **fields)

    async def answer(self, asked: GenerationRequest) -> list[Answer]:
        answers = [Answer() for _ in range(asked.n)]
        async for output in self.engine.generate(asked):
            choice = answers[output.index]
            choice.text += output.text
            choice.tokens += output.token_ids
            choice.logprobs += output.logprobs
            choice.finish = output.finish or choice.finish
        return answers

    def all(self, *asked: GenerationRequest) -> list[Answer]:
        """First choices of requests that run together."""

        async def together() -> list[list[Answer]]:
            return await asyncio.gather(*map(self.answer, asked))

        return [answers[0] for answers in self.runner.run(together())]

    def one(self, prompt: str | Chat = PROMPTS[0], **fields: Any) -> Answer:
        return self.all(self.request(prompt, **fields))[0]

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.loaded.tokenizer.encode(text, add_special_tokens=True)
        return ids


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    serving = Serving()
    yield serving
    serving.runner.run(serving.engine.close())
    serving.runner.close()


@pytest.fixture(scope="module")
def alone(serving: Serving) -> list[Answer]:
    """Each prompt's greedy answer by itself."""
    return [serving.one(prompt, max_tokens=10) for prompt in PROMPTS]


def test_it_knows_the_capital_of_france(serving: Serving) -> None:
    question = Chat((Message("user", "What is the capital of France?"),))
    answer = serving.one(question, max_tokens=32)
    assert answer.text == "The capital of France is Paris."
    assert answer.finish is not None
    assert answer.finish.reason is FinishReason.STOP
    assert answer.finish.matched_stop in serving.loaded.eos_token_ids
    assert answer.finish.usage.completion_tokens == len(answer.tokens) == 8


def test_sixteen_prompts_batched_give_the_text_of_each_alone(
    serving: Serving, alone: list[Answer]
) -> None:
    together = serving.all(*(serving.request(prompt, max_tokens=10) for prompt in PROMPTS))
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert [answer.tokens for answer in together] == [answer.tokens for answer in alone]
    assert len({answer.text for answer in alone}) == len(PROMPTS)


@pytest.mark.parametrize("params", [{"seed": 42}, {"seed": 2**64 - 1, "top_p": 0.9, "top_k": 50}])
def test_seeds_hold_among_fifteen_others(serving: Serving, params: dict[str, Any]) -> None:
    seeded = {"temperature": 0.9, **params}
    wanted = serving.one(PROMPTS[2], params=seeded).tokens
    assert serving.one(PROMPTS[2], params={**seeded, "seed": 43}).tokens != wanted
    others = [serving.request(prompt, params={"temperature": 1.0}) for prompt in PROMPTS[:15]]
    same = serving.request(PROMPTS[2], params=seeded)
    assert serving.all(*others[:7], same, *others[7:])[7].tokens == wanted


def test_choices_have_seeds_of_their_own(serving: Serving) -> None:
    seeded = {"temperature": 1.0, "seed": 7}
    asked = serving.request(PROMPTS[2], params=seeded, n=3)
    choices = serving.runner.run(serving.answer(asked))
    assert len({choice.text for choice in choices}) == 3
    for index, choice in enumerate(choices):
        single = serving.one(PROMPTS[2], params={**seeded, "seed": 7 + index})
        assert choice.tokens == single.tokens


@pytest.mark.parametrize("stop", ["ris.\n", "e ans", " Paris", "Paris. It"])
def test_stop_strings_do_not_leak(serving: Serving, alone: list[Answer], stop: str) -> None:
    """Also where they begin or end inside a token; the last one is only begun, not reached."""
    whole = alone[0].text
    assert whole.startswith(" Paris.\n\nThe ans")
    answer = serving.one(PROMPTS[0], stop=(stop, "never"), max_tokens=10)
    assert answer.finish is not None
    if stop in whole:
        assert answer.text == whole[: whole.index(stop)]
        assert answer.finish.reason is FinishReason.STOP
        assert answer.finish.matched_stop == stop
    else:
        assert answer.text == whole and answer.finish.reason is FinishReason.LENGTH


def test_stop_ids_ignore_eos_and_min_tokens(serving: Serving, alone: list[Answer]) -> None:
    third = alone[0].tokens[2]
    assert third not in alone[0].tokens[:2]
    stopped = serving.one(PROMPTS[0], stop_token_ids=(third,))
    assert stopped.tokens == alone[0].tokens[:3]
    assert stopped.finish is not None and stopped.finish.matched_stop == third
    later = serving.one(PROMPTS[0], stop_token_ids=(third,), min_tokens=8)
    assert third not in later.tokens[:8] and len(later.tokens) >= 8

    question = Chat((Message("user", "What is the capital of France?"),))
    more = serving.one(question, ignore_eos=True, max_tokens=20)
    assert len(more.tokens) == 20 and more.text.startswith("The capital of France is Paris.")
    held = serving.one(question, min_tokens=12, max_tokens=20)
    assert not serving.loaded.eos_token_ids.intersection(held.tokens[:12])


def logits_of(serving: Serving, tokens: list[int]) -> NDArray[np.float32]:
    """What mlx-lm's own class says after each token, shape (tokens, vocab)."""
    from mlx_lm.models.cache import make_prompt_cache

    def run() -> NDArray[np.float32]:
        model = load_model(serving.loaded.path).model
        return np.array(model(mx.array([tokens]), cache=make_prompt_cache(model))[0])

    assert serving.engine._assembly is not None
    return serving.engine._assembly.device.call(run).result()


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    x = logits.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    result: NDArray[np.float64] = x - np.log(np.exp(x).sum(-1, keepdims=True))
    return result


def test_logprobs_are_the_models(serving: Serving) -> None:
    answer = serving.one(PROMPTS[9], logprobs=5, max_tokens=8)
    prompt = serving.encode(PROMPTS[9])
    plain = log_softmax(logits_of(serving, prompt + answer.tokens)[len(prompt) - 1 : -1])
    assert len(answer.logprobs) == len(answer.tokens)
    for place, entry in enumerate(answer.logprobs):
        assert entry.token_id == answer.tokens[place]
        assert abs(entry.logprob - plain[place, entry.token_id]) < 1e-3
        ids = [token for token, _ in entry.top]
        values = [value for _, value in entry.top]
        assert ids == np.argsort(-plain[place])[:5].tolist()
        assert values == sorted(values, reverse=True)
        assert np.allclose(values, plain[place, ids], atol=1e-3)
        assert entry.top[0] == (entry.token_id, entry.logprob)  # greedy


def test_logit_bias_forces_and_forbids(serving: Serving, alone: list[Answer]) -> None:
    forced = serving.one(PROMPTS[0], params={"logit_bias": {1234: 100.0}}, max_tokens=3)
    assert forced.tokens == [1234] * 3
    first = alone[0].tokens[0]
    forbidden = serving.one(PROMPTS[0], params={"logit_bias": {first: -100.0}})
    assert first not in forbidden.tokens


def test_penalties_are_the_schemas(serving: Serving) -> None:
    """Greedy with penalties, token by token, against a plain computation on the host."""
    params = {"repetition_penalty": 1.3, "presence_penalty": 0.5, "frequency_penalty": 0.4}
    answer = serving.one(PROMPTS[3], params=params, max_tokens=10, ignore_eos=True)
    prompt = serving.encode(PROMPTS[3])
    rows = logits_of(serving, prompt + answer.tokens)[len(prompt) - 1 : -1]
    for place, row in enumerate(rows):
        output = answer.tokens[:place]
        x = row.astype(np.float64)
        for token in {*prompt, *output}:
            x[token] = x[token] / 1.3 if x[token] > 0 else x[token] * 1.3
        for token in set(output):
            x[token] -= 0.5 + 0.4 * output.count(token)
        assert answer.tokens[place] == int(x.argmax())
    assert answer.tokens != [int(row.argmax()) for row in rows]


def test_usage_and_timings(serving: Serving) -> None:
    answer = serving.one(PROMPTS[4], max_tokens=5)
    assert answer.finish is not None
    usage, timings = answer.finish.usage, answer.finish.timings
    assert usage.prompt_tokens == len(serving.encode(PROMPTS[4]))
    assert usage.completion_tokens == 5 == len(answer.tokens) and usage.cached_tokens == 0
    assert 0 <= timings.queue <= timings.time_to_first_token <= timings.total


def test_a_cancelled_stream_frees_its_row_within_a_step(serving: Serving) -> None:
    core = serving.core

    async def run() -> int:
        stream = serving.engine.generate(serving.request(max_tokens=500, ignore_eos=True))
        other = serving.engine.generate(serving.request(max_tokens=10, ignore_eos=True))
        await anext(stream)
        await anext(other)
        assert isinstance(stream, AsyncGenerator)
        await stream.aclose()
        steps = core.stats.steps
        await anext(other)
        await anext(other)
        assert len(core.batch) == 1
        taken: int = core.stats.steps - steps
        async for _ in other:
            pass
        return taken

    # The steps whose tokens were read: the one under way and the one that dropped the row.
    assert serving.runner.run(run()) <= 3


def test_deadline(serving: Serving) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        serving.one(max_tokens=1000, ignore_eos=True, deadline=started + 0.3)
    assert 0.3 <= time.monotonic() - started < 5


def test_warm_prefixes_give_the_tokens_of_a_cold_run(serving: Serving) -> None:
    shared = "You are a helpful assistant. " * 12
    prompts = [shared + question for question in ("Who are you?", "Where is the sea?")]
    cold = [serving.one(prompt) for prompt in prompts]
    warm = [serving.one(prompt, cache_salt="shared") for prompt in prompts]
    again = [serving.one(prompt, cache_salt="shared") for prompt in prompts]
    stranger = serving.one(prompts[0], cache_salt="another tenant")
    for answers in (warm, again):
        assert [answer.tokens for answer in answers] == [answer.tokens for answer in cold]
    cached = [answer.finish.usage.cached_tokens for answer in (*warm, *again) if answer.finish]
    whole = (len(serving.encode(shared)) - 1) // BLOCK * BLOCK
    assert cached[0] == 0 and min(cached[1:]) >= whole >= 64
    assert stranger.finish is not None and stranger.finish.usage.cached_tokens == 0


def test_a_conversation_reuses_its_last_answer(serving: Serving) -> None:
    first = Message("user", "Tell me a long story about a dog and a cat.")
    answer = serving.one(Chat((first,)), max_tokens=60, cache_salt="conversation")
    turns = (first, Message("assistant", answer.text), Message("user", "And then?"))
    second = serving.one(Chat(turns), cache_salt="conversation")
    cold = serving.one(Chat(turns))
    assert answer.finish is not None and second.finish is not None
    assert second.finish.usage.cached_tokens > answer.finish.usage.prompt_tokens
    assert second.tokens == cold.tokens


def test_nothing_is_held_at_rest(serving: Serving) -> None:
    core = serving.core
    limit = time.monotonic() + 10
    while core.runner.nbytes and time.monotonic() < limit:
        time.sleep(0.05)
    assert core.runner.nbytes == core.runner.rows == 0 and not core.groups
    assert core.memory.used == core.memory.prefix.nbytes
