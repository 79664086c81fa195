"""The engine's step: from waiting requests to tokens, one batch at a time.

``EngineCore`` runs on the MLX thread. Each step launches the next forward pass before it
reads the tokens of the one before, so the device does not wait for Python. Rows whose next
token depends on the last one's text (grammars, thinking budgets) are the exception: their
tokens are read while the forward pass runs, and only the sampling waits.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

import mlx.core as mx

from .answers import Answers, Delivery
from .config import EngineConfig
from .errors import EngineError, InternalError, ResourceExhausted, queue_full
from .flight import Flight
from .gathering import Gathering
from .grammar import GrammarState
from .masks import Masks, Words
from .memory import Memory
from .model.runner import Runner
from .pace import Pace
from .sampling import Sampler
from .scheduler import Entry, Job, Scheduler
from .sequence import Group, Phase, Sequence
from .stats import Stats

__all__ = ["Delivery", "EngineCore"]

log = logging.getLogger(__name__)

# Between two looks at whether the gathering of requests is over: the clock ends it, or a count that
# other threads lower without waking this one. They prepare those requests: asleep, this thread
# leaves them the GIL. This engine has nothing on the device then, others wait no longer than this.
_NAP = 0.0005


class EngineCore:
    """A stepper of the device thread. ``deliver`` takes outputs in batches, and must not block."""

    def __init__(
        self,
        runner: Runner,
        vocab: int,
        memory: Memory,
        scheduler: Scheduler,
        pace: Pace,
        config: EngineConfig,
        deliver: Callable[[list[Delivery]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.runner = runner
        self.memory = memory
        self.scheduler = scheduler
        self.pace = pace
        self.config = config
        self.vocab = vocab
        self.sampler = Sampler(vocab)
        self.masks = Masks(vocab)
        self.stats = Stats()
        self.batch: list[Sequence] = []
        self.answers = Answers(deliver)
        self.groups = self.answers.groups
        self.gathering = Gathering()
        self._tokens = mx.zeros((0,), mx.uint32)
        self._arranged = True
        self._flights: deque[Flight] = deque()
        self._commands: deque[Callable[[], None]] = deque()
        self._clock = clock
        self._finished_jobs: list[Job] = []

    # What other threads may call: they only append, the step does the work.

    def check_queue(self) -> None:
        """Raise ``ResourceExhausted`` when the queue is full now: before any work is done."""
        if self.scheduler.full:
            self._commands.append(self._count_rejected)
            raise queue_full(self.scheduler.max_waiting)

    def submit(self, group: Group) -> None:
        """Queue a request. Wake the device thread after."""
        self._commands.append(lambda: self._submit(group))

    def abort(self, request_id: str, error: EngineError | None = None) -> None:
        """End a request with ``error`` (default: Cancelled); unknown ids are ignored."""
        self._commands.append(lambda: self.answers.abort(request_id, error))

    def abort_all(self, error: EngineError) -> None:
        """End every request with ``error``."""
        self._commands.append(lambda: self.answers.end_all(error))

    # The step.

    def step(self) -> bool:
        """One step; False when there was nothing to do."""
        started = self._clock()
        try:
            worked = self._step()
        except Exception as error:
            self._fail(error)
            worked = True
        if worked:
            self.stats.step_seconds += self._clock() - started
            self.stats.kv_bytes = self.memory.used
        return worked

    def _step(self) -> bool:
        self._run_commands()
        self.answers.expire(self._clock())
        self._retire()
        if self._gathers():
            self.answers.flush()
            time.sleep(_NAP)
            return True
        self._admit()
        prefilled = self._prefill()
        flight = self._decode(prefilled)
        self._keep_prefixes()
        waiting = bool(self.scheduler.waiting or self.scheduler.jobs)
        worked = flight is not None or waiting or bool(self._flights)
        while self._flights:
            self._read(self._flights.popleft())
        if flight is not None:
            self._flights.append(flight)
        self.answers.flush()
        if not worked:
            self.pace.idle()
        return worked

    def _run_commands(self) -> None:
        while self._commands:
            self._commands.popleft()()

    def _submit(self, group: Group) -> None:
        if self.scheduler.full:
            self._count_rejected()
            self.answers.end(group, queue_full(self.scheduler.max_waiting))
            return
        self.answers.open(group)
        self.scheduler.add(group)

    def _count_rejected(self) -> None:
        self.stats.rejected += 1

    def _retire(self) -> None:
        """Drop rows that ended or need no further step, and what waits for nobody."""
        self.scheduler.drop_ended()
        gone = [s for s in self.batch if s.phase is Phase.ENDED or s.exhausted]
        if gone:
            self.memory.keep_outputs(self.batch, gone)
            self._rearrange([s for s in self.batch if not (s.phase is Phase.ENDED or s.exhausted)])

    def _rearrange(self, stay: list[Sequence]) -> None:
        """Keep ``stay`` as the batch; the last rows take the places that got free."""
        places = {id(s): place for place, s in enumerate(self.batch)}
        kept = [places[id(s)] for s in stay]
        count = len(kept)
        tail = [place for place in kept if place >= count]
        held = set(kept)
        order = [place if place in held else tail.pop() for place in range(count)]
        self.runner.keep(order)
        self.batch = [self.batch[place] for place in order]
        self._tokens = self._tokens[mx.array(order)] if order else mx.zeros((0,), mx.uint32)
        self._arranged = False

    def _gathers(self) -> bool:
        waiting = self.scheduler.waiting
        begins = 0 < len(waiting) < self.scheduler.max_rows  # more could not run anyway
        begins = begins and not (self.batch or self.scheduler.jobs or self._flights)
        tokens = sum(len(entry.tokens) for entry in waiting) if begins else 0
        return self.gathering.wait(begins, self.pace.chunk_time.of(tokens), self._clock())

    def _admit(self) -> None:
        if not self.scheduler.waiting:
            return
        now = self._clock()
        room = self.memory.room(self.batch, self.scheduler.jobs)
        job_rows = self.runner.prefill_rows
        if self.batch:  # so that one chunk of them all stays within its share of the time
            job_rows = min(job_rows, max(1, self.pace.budget(True) // self.runner.shapes.unit))
        jobs = self.scheduler.admit(len(self.batch), room.take, job_rows)
        if not (jobs or self.batch or self.scheduler.jobs or self._flights):
            # An idle engine has no room for the first in line: it never will.
            self._refuse(self.scheduler.waiting.popleft())
        for job in jobs:
            for entry in job.entries:
                for sequence in entry.live:
                    sequence.phase = Phase.PREFILL
                    if sequence.admitted is None:
                        sequence.admitted = now

    def _refuse(self, entry: Entry) -> None:
        self.answers.end(entry.sequences[0].group, self.memory.refusal(entry))

    def _prefill(self) -> int:
        """One chunk of the first job; returns its tokens. Prompts that are done join."""
        jobs = self.scheduler.jobs
        while jobs and not jobs[0].pending:
            self.memory.close(jobs.pop(0))  # cancelled while in prefill
        if not jobs or not self._open(jobs[0]):
            return 0
        job = jobs[0]
        offset = job.offset
        tokens = 0
        if job.prefill is not None and offset < job.length:
            chunk = self.memory.chunk(job, self.pace.budget(bool(self.batch)))
            padded = [e.tokens[offset : min(offset + chunk, e.length)] for e in job.entries]
            tokens = sum(map(len, padded))
            self.runner.advance(job.prefill, [p + [0] * (chunk - len(p)) for p in padded])
            offset += chunk
            self.stats.prompt_tokens += tokens
        self._join(job, offset)
        if not job.pending:
            jobs.pop(0)
            self._finished_jobs.append(job)
        return tokens

    def _open(self, job: Job) -> bool:
        """Whether the job's prompts have memory. What does not fit now waits or is split off."""
        if job.prefill is not None or not job.length:
            return True
        job.entries = job.pending
        while not self.memory.open(self.batch, job):
            if self.batch:
                return False
            if len(job.entries) == 1:
                self.scheduler.jobs.remove(job)
                self._refuse(job.entries[0])
                return False
            self.scheduler.put_back_entries([job.entries.pop()])
        if self.memory.prefix is not None:
            for entry in job.entries:
                for sequence in entry.live:
                    if not sequence.output:
                        sequence.cached_tokens = entry.cached * self.memory.prefix.block
        return True

    def _join(self, job: Job, offset: int) -> None:
        """Let prompts whose prefill is done into the batch; their last token comes next."""
        ready = job.ready(offset)
        joining = [s for _, entry in ready for s in entry.live]
        if joining and not self.memory.reserve(self.batch, joining):
            # The running rows grew meanwhile.
            self.scheduler.put_back_entries([entry for _, entry in ready if entry.live])
        sources: list[int] = []
        lengths: list[int] = []
        lasts: list[int] = []
        for place, entry in ready:
            entry.joined = True
            for sequence in entry.live:
                if sequence.phase is Phase.PREFILL:
                    sequence.phase = Phase.DECODE
                    sequence.launched = len(sequence.output)
                    sources.append(place)
                    lengths.append(entry.length)
                    lasts.append(entry.tokens[-1])
                    self.batch.append(sequence)
        if sources:
            before = len(self.batch) - len(sources)
            self.runner.join(job.prefill, sources, lengths)
            fresh = mx.array(lasts, mx.uint32)
            self._tokens = mx.concatenate([self._tokens[:before], fresh])
            self._arranged = False

    def _decode(self, prefilled: int) -> Flight | None:
        """Launch the next token of every row."""
        self._make_room()
        if not self.batch:
            return Flight([], None, prefilled) if prefilled else None
        if not self._arranged:
            self.sampler.arrange(self.batch)
            self._arranged = True
        width = self.runner.width(len(self.batch))
        inputs = self._tokens
        if inputs.shape[0] != width:
            inputs = inputs[: len(self.batch)]
            inputs = mx.concatenate([inputs, mx.zeros((width - len(self.batch),), mx.uint32)])
        waits = any(s.waits_for_host for s in self.batch)
        midway = self._catch_up if waits else None
        logits = self.runner.decode(inputs, [s.length for s in self.batch], midway)
        masks, forced = None, None
        if waits:
            mx.async_eval(logits)
            self._catch_up()
            masks, forced = self._constraints()
        sampled = self.sampler.sample(logits, inputs, masks, forced)
        mx.async_eval(*sampled.arrays)
        self._tokens = sampled.tokens
        rows = [(s, s.epoch) for s in self.batch]
        for sequence in self.batch:
            sequence.launched += 1
        return Flight(rows, sampled, prefilled)

    def _make_room(self) -> None:
        """Have a position for every row's next token, putting back the youngest if need be."""
        while self.batch and not self.memory.grow(self.batch):
            youngest = max(self.batch, key=lambda s: (s.group.arrival, s.index))
            job = next((job for job in self.scheduler.jobs if job.prefill is not None), None)
            if job is not None and job.arrival >= youngest.group.arrival:
                self.scheduler.jobs.remove(job)
                self.memory.close(job)
                self.scheduler.put_back_entries(job.pending)
                continue
            self._rearrange([s for s in self.batch if s is not youngest])
            if youngest.phase is not Phase.ENDED:
                self.stats.preemptions += 1
                self.scheduler.put_back(youngest)

    def _catch_up(self) -> None:
        """Read the step before, and have the masks filled that follow from it."""
        while self._flights:
            self._read(self._flights.popleft())
        rows = self.sampler.constrained
        if rows and not self.masks.begun:
            self.masks.begin([self._active_grammar(self.batch[row]) for row in rows])

    def _constraints(self) -> tuple[Words | None, dict[int, int] | None]:
        """Masks of the rows with a grammar, and the tokens that rows are made to take."""
        rows = self.sampler.constrained
        masks = None
        if rows:
            masks, failed = self.masks.finish()
            for place in failed:
                sequence = self.batch[rows[place]]
                if sequence.grammar is not None and sequence.grammar.error is not None:
                    self.answers.end(sequence.group, sequence.grammar.error)
        forced = {row: s.forced.pop(0) for row, s in enumerate(self.batch) if s.forced}
        return masks, forced or None

    @staticmethod
    def _active_grammar(sequence: Sequence) -> GrammarState | None:
        if sequence.phase is Phase.ENDED or sequence.text.in_reasoning:
            return None
        return sequence.grammar

    def _read(self, flight: Flight) -> None:
        """Wait for a step's tokens and hand them out."""
        tokens = flight.tokens()
        reported = flight.logprobs()
        now = self._clock()
        self.pace.finished(flight.prefilled, bool(flight.rows))
        self.stats.steps += bool(flight.rows)
        for row, (sequence, epoch) in enumerate(flight.rows):
            if sequence.phase is Phase.ENDED or sequence.epoch != epoch:
                continue
            taken = self.answers.take(sequence, tokens[row], reported.get(row), now)
            self.stats.generated_tokens += taken
        self.answers.flush()

    def _keep_prefixes(self) -> None:
        """Save the prompts that were just prefilled, after their first step is on its way."""
        for job in self._finished_jobs:
            self.memory.keep_prompts(job)
        self._finished_jobs.clear()

    def rest(self) -> None:
        """Nothing to do for a while: hold no memory for rows that are gone."""
        if self.runner.nbytes and not (self.batch or self.groups):
            self.runner.release()
            mx.clear_cache()
        self.stats.kv_bytes = self.memory.used

    def _fail(self, error: Exception) -> None:
        """A step failed as a whole: its requests fail once, those that wait are served next."""
        log.exception("a step failed; the requests in it end")
        cause: EngineError = InternalError("a step of the model failed; try again")
        if isinstance(error, MemoryError) or "memory" in str(error).lower():
            cause = ResourceExhausted("the device ran out of memory; try again later")
        taking_part = [group for group in self.groups.values() if group.running]
        for group in taking_part or list(self.groups.values()):
            self.answers.end(group, cause)
        self.answers.flush()  # first of all: what follows may fail as well
        self.masks.drop()
        self._flights.clear()
        self.batch.clear()
        self.scheduler.drop_ended()
        self.scheduler.jobs.clear()
        self._finished_jobs.clear()
        self._tokens = mx.zeros((0,), mx.uint32)
        self._arranged = False
        self.runner.release()
        self.memory.clear()
