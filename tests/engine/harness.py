"""The engine's core without threads, tokenizer or clock: requests in, steps by hand, tokens out."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field
from typing import Any

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.core import Delivery, EngineCore
from mlxforge.engine.errors import EngineError
from mlxforge.engine.kv.prefix import PrefixCache
from mlxforge.engine.memory import Memory
from mlxforge.engine.model.runner import Runner
from mlxforge.engine.model.slots import SlotRunner
from mlxforge.engine.output import Finish, RequestOutput
from mlxforge.engine.pace import Pace
from mlxforge.engine.request import GenerationRequest
from mlxforge.engine.scheduler import Scheduler
from mlxforge.engine.sequence import Group, Sampling, Sequence
from mlxforge.engine.text import Piece, TextStream

PLENTY = 1 << 34


class NoText(TextStream):
    """A stream without a tokenizer, where only tokens matter."""

    def __init__(self) -> None:
        self.called_tools = False

    @property
    def in_reasoning(self) -> bool:
        return False

    def spelling(self, token: int) -> str:
        return ""

    def push(self, token: int, *, stops: bool = True) -> Piece:
        return Piece()

    def finish(self) -> Piece:
        return Piece()


def sampling(**parameters: Any) -> Sampling:
    """Greedy without penalties, unless told."""
    defaults = {
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "seed": 0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logprobs": 0,
    }
    return Sampling(**{**defaults, **parameters})


@dataclass
class Answer:
    """What came of one request, by choice, in order."""

    group: Group
    tokens: list[list[int]] = field(default_factory=list)
    logprobs: list[list[float]] = field(default_factory=list)
    finishes: dict[int, Finish] = field(default_factory=dict)
    error: EngineError | None = None
    ends: int = 0

    @property
    def id(self) -> str:
        return self.group.request.request_id

    @property
    def ended(self) -> bool:
        return self.ends > 0


class Harness:
    """A core over ``runner`` with a budget of ``total`` bytes."""

    def __init__(
        self,
        runner: Runner,
        vocab: int,
        *,
        total: int = PLENTY,
        chunk: int = 16,
        rows: int = 16,
        waiting: int = 1024,
        block: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        prefix = None
        if block is not None:
            assert isinstance(runner, SlotRunner)
            prefix = PrefixCache(runner.layout, block)
        self.prefix = prefix
        self.memory = Memory(total, runner, prefix)
        self.scheduler = Scheduler(
            max_rows=rows,
            max_waiting=waiting,
            padding=1.1,
            prefix=prefix,
            shapes=runner.shapes,
        )
        config = EngineConfig(max_running_requests=rows, max_waiting_requests=waiting)
        self.clock = clock
        self.core = EngineCore(
            runner,
            vocab,
            self.memory,
            self.scheduler,
            Pace(1.5, chunk),
            config,
            self._deliver,
            clock,
        )
        self.answers: dict[str, Answer] = {}
        self.peak = 0

    def submit(
        self,
        prompt: Tokens[int],
        max_tokens: int,
        *,
        n: int = 1,
        ends: frozenset[int] = frozenset(),
        min_tokens: int = 0,
        deadline: float | None = None,
        salt: str = "",
        keeps_output: bool = False,
        **parameters: Any,
    ) -> Answer:
        """Queue a request; ``ends`` are its end tokens, ``parameters`` those of sampling."""
        name = f"r{len(self.answers)}"
        request = GenerationRequest(name, prompt_token_ids=tuple(prompt), n=n, deadline=deadline)
        group = Group(request, name)
        group.arrival = self.clock()
        seed = parameters.pop("seed", 0)
        group.sequences.extend(
            Sequence(
                group=group,
                index=index,
                prompt=list(prompt),
                sampling=sampling(seed=seed + index, **parameters),
                max_tokens=max_tokens,
                min_tokens=min_tokens,
                end_ids=ends,
                stop_ids=frozenset(),
                text=NoText(),
                salt=salt,
                keeps_output=keeps_output,
            )
            for index in range(n)
        )
        answer = Answer(group, [[] for _ in range(n)], [[] for _ in range(n)])
        self.answers[name] = answer
        self.core.submit(group)
        return answer

    def step(self) -> bool:
        """One step, checking what must hold after each."""
        worked = self.core.step()
        self.peak = max(self.peak, self.memory.used)
        assert self.memory.used <= self.memory.total, "over the memory budget"
        return worked

    def run(self, limit: int = 10_000) -> None:
        """Step until there is nothing to do."""
        for _ in range(limit):
            if not self.step():
                return
        raise AssertionError(f"still working after {limit} steps")

    def check_resting(self) -> None:
        """Nothing is held: every request ended, no row, queue entry, flight or KV byte is left."""
        core = self.core
        core.rest()
        assert all(answer.ends == 1 for answer in self.answers.values())
        assert not core.batch and not core.groups and not core._flights and not core._commands
        assert not self.scheduler.waiting and not self.scheduler.jobs and not core._finished_jobs
        assert core.runner.rows == 0 and core.runner.nbytes == 0
        assert self.memory.used == (self.prefix.nbytes if self.prefix else 0)

    def _deliver(self, deliveries: list[Delivery]) -> None:
        for sink, item in deliveries:
            answer = self.answers[str(sink)]
            assert not answer.ended, f"{answer.id} got something after its end"
            if isinstance(item, EngineError):
                answer.error = item
                answer.ends += 1
            else:
                self._take(answer, item)

    @staticmethod
    def _take(answer: Answer, output: RequestOutput) -> None:
        assert output.index not in answer.finishes, "a choice went on after its finish"
        answer.tokens[output.index] += output.token_ids
        answer.logprobs[output.index] += [entry.logprob for entry in output.logprobs]
        if output.finish is not None:
            answer.finishes[output.index] = output.finish
            answer.ends += len(answer.finishes) == len(answer.tokens)
