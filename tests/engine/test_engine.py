"""Requests to an engine: a random load, each alone, and what goes wrong with one or all."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.device import DeviceThread
from mlxforge.engine.engine import Engine
from mlxforge.engine.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineError,
    InternalError,
    InvalidRequest,
    ResourceExhausted,
    Unavailable,
)
from mlxforge.engine.output import FinishReason, RequestOutput

from .serving import CONFIG, collect, request, resting, until


async def test_a_random_load_ends_every_request_once(engine: Engine) -> None:
    dice = random.Random(11)
    texts = ["a", "Once upon a time", "x" * 150, "The same beginning, and " + "y" * 40]
    plain = [request(f"alone-{text[:3]}", prompt=text, max_tokens=30) for text in texts]
    alone = {r.prompt: (await collect(engine, r))[0][0] for r in plain}
    outcomes: dict[str, int] = {}

    async def one(number: int) -> None:
        kind = dice.choice(["plain", "plain", "seeded", "cancel", "deadline", "bad", "long", "n"])
        await asyncio.sleep(dice.random() * 1.5)
        fields: dict[str, Any] = {"prompt": dice.choice(texts), "max_tokens": dice.randint(1, 30)}
        if kind == "seeded":
            fields["params"] = {"temperature": 1.0, "seed": 5, "top_p": 0.9}
        elif kind == "deadline":
            fields["deadline"] = time.monotonic() + dice.random() * 0.3
        elif kind == "bad":
            bad: list[dict[str, Any]] = [
                {"prompt_token_ids": (1, 5000), "prompt": None},
                {"n": 5},
                {"prompt": ""},
            ]
            fields |= dice.choice(bad)
        elif kind == "long":
            fields["prompt"] = "z" * 600
        elif kind == "n":
            fields["n"] = 3
        asked = request(f"q{number}", **fields)
        task = asyncio.ensure_future(collect(engine, asked))
        if kind == "cancel":
            await asyncio.sleep(dice.random() * 0.05)
            task.cancel()
        outcome = "finished"
        try:
            for tokens, finish in (await task).values():
                assert finish.reason is FinishReason.LENGTH
                assert len(tokens) == finish.usage.completion_tokens == asked.max_tokens
                if kind != "seeded":
                    assert tokens == alone[asked.prompt][: len(tokens)]
        except asyncio.CancelledError:
            assert kind == "cancel"
            outcome = "cancelled"
        except EngineError as error:
            outcome = type(error).__name__
        expected = {
            "cancel": ("cancelled", "finished"),
            "deadline": ("DeadlineExceeded", "finished"),
            "bad": ("InvalidRequest",),
            "long": ("InvalidRequest",),
        }.get(kind, ("finished",))
        assert outcome in expected, (kind, outcome)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    await asyncio.gather(*(one(number) for number in range(300)))
    assert sum(outcomes.values()) == 300
    assert min(outcomes[k] for k in ("finished", "cancelled", "InvalidRequest")) > 10
    await until(lambda: resting(engine))
    assert engine.healthy


async def test_what_never_fits_says_what_is_needed(folder: Path) -> None:
    engine = Engine(str(folder), EngineConfig(memory_budget=CONFIG.memory_budget, warm_up=False))
    await engine.start()
    assert engine._assembly is not None
    engine._assembly.core.memory.total = 100_000
    with pytest.raises(ResourceExhausted, match=r"may need .* only .* exist") as caught:
        await collect(engine, request("a", max_tokens=400))
    assert caught.value.reason == "REQUEST_TOO_LARGE" and caught.value.retry_after is None
    # Without a limit of its own, an answer gets as long as there is memory for.
    finish = (await collect(engine, request("b", max_tokens=None)))[0][1]
    assert finish.reason is FinishReason.LENGTH and 20 < finish.usage.completion_tokens < 400
    await engine.close()


async def test_leaving_a_stream_aborts_it(engine: Engine) -> None:
    stream = engine.generate(request("a", max_tokens=400))
    await anext(stream)
    assert not resting(engine)
    assert isinstance(stream, AsyncGenerator)
    await stream.aclose()
    await until(lambda: resting(engine))


async def test_a_caller_that_raises_ends_its_request_alone(engine: Engine) -> None:
    """As a door does whose client reads too slowly."""
    taken: list[int] = []

    def put(output: RequestOutput) -> None:
        taken.extend(output.token_ids)
        if len(taken) == 3:
            raise ResourceExhausted("too slow", reason="SLOW_READER", retry_after=None)

    other = asyncio.ensure_future(collect(engine, request("other", max_tokens=60)))
    with pytest.raises(ResourceExhausted, match="too slow"):
        await engine.run(request("a", max_tokens=400), put)
    assert len((await other)[0][0]) == 60
    await until(lambda: resting(engine))
    assert len(taken) == 3


async def test_one_loop_among_several(engine: Engine) -> None:
    """Outputs go to the loop that asked."""
    from_another: list[Any] = []
    thread = threading.Thread(
        target=lambda: from_another.append(asyncio.run(collect(engine, request("b"))))
    )
    thread.start()
    here = await collect(engine, request("a"))
    await asyncio.to_thread(thread.join)
    assert from_another[0][0][0] == here[0][0]


async def test_a_request_id_cannot_be_used_twice_at_once(engine: Engine) -> None:
    first = engine.generate(request("a", max_tokens=100))
    await anext(first)
    with pytest.raises(InternalError, match="in use"):
        await collect(engine, request("a"))
    assert len([output async for output in first]) == 99


async def test_a_failing_request_ends_alone(engine: Engine) -> None:
    """Whatever its parser, grammar or detokenizer throws."""
    assert engine._assembly is not None
    preparer = engine._assembly.preparer
    fill = preparer.fill

    def sabotage(group: Any) -> None:
        fill(group)
        if group.request.request_id == "bad":
            group.sequences[0].text.push = None

    preparer.fill = sabotage  # type: ignore[method-assign]  # instead of the method
    good = asyncio.ensure_future(collect(engine, request("good", max_tokens=60)))
    with pytest.raises(InternalError):
        await collect(engine, request("bad"))
    assert len((await good)[0][0]) == 60
    await until(lambda: resting(engine))


async def test_an_engine_whose_step_fails_for_good(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Even the handling of the failure fails: the engine is no longer healthy and says so."""
    caplog.set_level("CRITICAL")
    assert engine._assembly is not None
    core = engine._assembly.core

    def broken() -> None:
        raise SystemExit("deep trouble")

    running = asyncio.ensure_future(collect(engine, request("a", max_tokens=400)))
    await until(lambda: bool(core.batch))
    core._step = broken  # type: ignore[assignment]  # instead of the method
    await until(lambda: not engine.healthy)
    with pytest.raises(Unavailable) as caught:
        await collect(engine, request("b"))
    assert caught.value.reason == "MODEL_FAILED"
    await engine.close()
    with pytest.raises(Cancelled):
        await running
    assert DeviceThread.shared().alive


async def test_deadline_passes_while_waiting(engine: Engine) -> None:
    with pytest.raises(DeadlineExceeded):
        await collect(engine, request("a", deadline=time.monotonic()))


async def test_ids_beyond_the_logits_are_refused_undisturbed(engine: Engine) -> None:
    """Fault 19: the neighbour's tokens and log probabilities stay bit for bit the same."""

    async def logprobs(name: str) -> list[float]:
        asked = request(name, max_tokens=40, logprobs=0, cache_salt=name)
        return [e.logprob async for o in engine.generate(asked) for e in o.logprobs]

    alone = await logprobs("alone")
    neighbour = asyncio.ensure_future(logprobs("neighbour"))
    for number, token in enumerate((-1, 320, 2**31, 2**40)):
        for fields in (
            {"prompt": None, "prompt_token_ids": (1, token)},
            {"stop_token_ids": (token,)},
            {"params": {"logit_bias": {token: 1.0}}},
        ):
            with pytest.raises(InvalidRequest, match=str(token)):
                await collect(engine, request(f"bad{number}", **fields))
    assert await neighbour == alone


def test_the_process_ends_well_in_the_middle_of_a_step(folder: Path) -> None:
    """An engine that nobody closed does not abort the process at its end."""
    script = f"""
import asyncio
from mlxforge.engine.engine import Engine
from mlxforge.engine.request import GenerationRequest
async def main():
    engine = Engine({str(folder)!r})
    await engine.start()
    stream = engine.generate(GenerationRequest("a", prompt="a", max_tokens=400, ignore_eos=True))
    await anext(stream)
    print("streaming", flush=True)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "streaming\n" and done.returncode == 0, done.stderr
