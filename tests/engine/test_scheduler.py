"""Who is admitted when, and with whom."""

from __future__ import annotations

import mlx.core as mx

from mlxforge.engine.kv.layout import KVLayout, LayerLayout
from mlxforge.engine.kv.prefix import PrefixCache
from mlxforge.engine.request import GenerationRequest
from mlxforge.engine.scheduler import Entry, Job, Scheduler
from mlxforge.engine.sequence import Group, Phase, Sequence

from .harness import NoText, sampling


def scheduler(*, rows: int = 8, waiting: int = 10, block: int | None = None) -> Scheduler:
    layout = KVLayout((LayerLayout(1, 1, 1, 1, mx.float32),))
    prefix = None if block is None else PrefixCache(layout, block)
    return Scheduler(max_rows=rows, max_waiting=waiting, padding=1.1, prefix=prefix)


def group(arrival: float, prompt: list[int], n: int = 1) -> Group:
    made = Group(GenerationRequest(f"r{arrival}", n=n), None)
    made.arrival = arrival
    made.sequences = [
        Sequence(
            group=made,
            index=index,
            prompt=prompt,
            sampling=sampling(),
            max_tokens=10,
            min_tokens=0,
            end_ids=frozenset(),
            stop_ids=frozenset(),
            text=NoText(),
        )
        for index in range(n)
    ]
    return made


def admit(scheduler: Scheduler, running: int = 0, memory: int = 1000) -> list[list[float]]:
    """Arrivals of the jobs' entries; an entry takes its prompt's length of ``memory``."""
    left = memory

    def take(entry: Entry) -> bool:
        nonlocal left
        if len(entry.tokens) > left:
            return False
        left -= len(entry.tokens)
        return True

    return [arrivals(job) for job in scheduler.admit(running, take, 64)]


def arrivals(job: Job) -> list[float]:
    return sorted(entry.arrival for entry in job.entries)


def test_in_order_of_arrival_while_there_are_rows() -> None:
    queue = scheduler(rows=3)
    for arrival in range(5):
        queue.add(group(arrival, [1] * 10))
    assert admit(queue, running=1) == [[0, 1]]
    assert admit(queue, running=1) == []
    assert [entry.arrival for entry in queue.waiting] == [2, 3, 4]


def test_nobody_overtakes_one_that_waits_for_memory() -> None:
    queue = scheduler()
    for arrival, length in enumerate((10, 500, 10)):
        queue.add(group(arrival, [1] * length))
    assert admit(queue, memory=100) == [[0]]
    assert [entry.arrival for entry in queue.waiting] == [1, 2]


def test_choices_need_a_row_each() -> None:
    queue = scheduler(rows=4)
    queue.add(group(0, [1] * 5, n=3))
    queue.add(group(1, [1] * 5, n=2))
    assert admit(queue) == [[0]]


def test_alike_lengths_go_together_first_come_first() -> None:
    queue = scheduler()
    for arrival, length in enumerate((400, 12, 10, 405, 100)):
        queue.add(group(arrival, [1] * length))
    assert admit(queue) == [[0, 3], [1, 2], [4]]


def test_jobs_are_no_larger_than_said() -> None:
    queue = scheduler()
    for arrival in range(5):
        queue.add(group(arrival, [1] * 10))
    jobs = queue.admit(0, lambda entry: True, 2)
    assert [arrivals(job) for job in jobs] == [[0, 1], [2, 3], [4]]


def test_a_prompt_waits_for_a_prefix_that_is_being_computed() -> None:
    """It will find it in the cache, rather than compute it again beside the first."""
    queue = scheduler(block=4)
    queue.add(group(0, [1, 2, 3, 4, 5]))
    queue.add(group(1, [1, 2, 3, 4, 6]))
    queue.add(group(2, [9, 9, 9, 9, 9]))
    assert admit(queue) == [[0, 2]]
    assert admit(queue) == []
    queue.jobs.clear()
    assert admit(queue) == [[1]]


def test_another_tenants_prefix_is_not_waited_for() -> None:
    queue = scheduler(block=4)
    first, second = group(0, [1, 2, 3, 4, 5]), group(1, [1, 2, 3, 4, 5])
    second.sequences[0].salt = "b"
    queue.add(first)
    queue.add(second)
    assert admit(queue) == [[0, 1]]


def test_who_is_put_back_is_next() -> None:
    queue = scheduler(rows=1)
    running = group(0, [1, 2])
    queue.add(group(1, [1, 2]))
    sequence = running.sequences[0]
    sequence.output = [7, 8]
    sequence.phase = Phase.DECODE
    queue.put_back(sequence)
    assert sequence.phase is Phase.WAITING and sequence.epoch == 1
    assert queue.waiting[0].tokens == [1, 2, 7, 8]
    assert admit(queue) == [[0]]


def test_ended_requests_leave_the_queue() -> None:
    queue = scheduler(waiting=2)
    first, second = group(0, [1]), group(1, [1], n=2)
    queue.add(first)
    queue.add(second)
    was_full = queue.full
    assert was_full
    first.close()
    second.sequences[0].phase = Phase.ENDED
    queue.drop_ended()
    assert [entry.arrival for entry in queue.waiting] == [1] and not queue.full
    assert len(queue.waiting[0].live) == 1
