"""One record per answer being generated: everything the engine knows of it.

A request with ``n`` choices has ``n`` sequences. The first does the prefill, the others
join with copies of its KV rows.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .output import Timings, Usage

if TYPE_CHECKING:
    from .grammar import GrammarState
    from .request import GenerationRequest
    from .text import TextStream

# Logits divided by less would leave the range of f32.
_COLDEST = 1e-5


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters of one sequence with every default filled in."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    seed: int
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken; so it is below any useful temperature."""
        return self.temperature < _COLDEST

    @property
    def penalized(self) -> bool:
        """Whether earlier tokens change the logits."""
        return (
            self.repetition_penalty != 1.0
            or self.presence_penalty != 0.0
            or self.frequency_penalty != 0.0
        )

    @property
    def sorts(self) -> bool:
        """Whether the draw needs the logits in order."""
        return not self.greedy and (self.top_p < 1.0 or self.top_k > 0)


class Phase(enum.Enum):
    """Where a sequence stands."""

    WAITING = enum.auto()
    PREFILL = enum.auto()
    DECODE = enum.auto()
    ENDED = enum.auto()


class Group:
    """A submitted request while it lives: its sequences, and the ``sink`` of its outputs.

    A group is ``closed`` by its last sequence's finish or by its one error, and gives out
    nothing after: this is where "every request ends exactly once" is kept.
    """

    __slots__ = ("arrival", "closed", "deadline", "open", "request", "sequences", "sink")

    def __init__(self, request: GenerationRequest, sink: object) -> None:
        self.request = request
        self.sink = sink
        self.deadline = request.deadline
        self.arrival = time.monotonic()
        self.sequences: list[Sequence] = []
        self.open = 0
        self.closed = False

    @property
    def running(self) -> bool:
        """Whether any of its sequences is in prefill or in the batch."""
        return any(s.phase in (Phase.PREFILL, Phase.DECODE) for s in self.sequences)

    def close(self) -> bool:
        """End all sequences; False when the group was closed already."""
        if self.closed:
            return False
        self.closed = True
        for sequence in self.sequences:
            sequence.phase = Phase.ENDED
        return True


@dataclass(slots=True, eq=False)
class Sequence:
    """One answer. ``prompt`` are its token ids; ``output`` those read back so far."""

    group: Group
    index: int
    prompt: list[int]
    sampling: Sampling
    max_tokens: int
    min_tokens: int
    end_ids: frozenset[int]
    stop_ids: frozenset[int]
    text: TextStream
    grammar: GrammarState | None = None
    # Tokens to append whatever the model says (the end of thinking, when its budget is used).
    forced: list[int] = field(default_factory=list)
    reasoning_budget: int | None = None
    reasoning_end: tuple[int, ...] = ()
    salt: str = ""
    output: list[int] = field(default_factory=list)
    phase: Phase = Phase.WAITING
    # Output tokens launched on the device, read back or not.
    launched: int = 0
    # Raised when the sequence is put back; results of an older epoch are dropped.
    epoch: int = 0
    # Whether finished blocks are worth keeping for a later turn of a conversation.
    keeps_output: bool = False
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    admitted: float | None = None
    first_token: float | None = None

    @property
    def request_id(self) -> str:
        """The engine's id of the request."""
        return self.group.request.request_id

    @property
    def tokens(self) -> list[int]:
        """What a prefill has to process: the prompt, and the output after a preemption."""
        return self.prompt + self.output if self.output else self.prompt

    @property
    def length(self) -> int:
        """Positions of KV memory in use: all but the token that the next step takes."""
        return len(self.prompt) + self.launched - 1

    @property
    def waits_for_host(self) -> bool:
        """Whether a token must be read before the next one can be drawn."""
        return self.grammar is not None or self.reasoning_budget is not None

    @property
    def final_length(self) -> int:
        """Most positions it can come to use."""
        return len(self.prompt) + self.max_tokens

    @property
    def exhausted(self) -> bool:
        """Whether enough tokens are launched to reach ``max_tokens``."""
        return self.launched >= self.max_tokens

    def usage(self) -> Usage:
        """Token counts so far."""
        return Usage(len(self.prompt), len(self.output), self.cached_tokens, self.reasoning_tokens)

    def timings(self, now: float) -> Timings:
        """Seconds since arrival."""
        start = self.group.arrival
        return Timings(
            queue=(now if self.admitted is None else self.admitted) - start,
            time_to_first_token=(now if self.first_token is None else self.first_token) - start,
            total=now - start,
        )
