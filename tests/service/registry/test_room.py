"""How the budget is divided, and who goes to make room."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mlxforge.engine.errors import ResourceExhausted
from mlxforge.engine.output import Capability
from mlxforge.service.registry import ModelEntry, ModelsSettings, ModelState
from mlxforge.service.registry.room import Room, weight_file_bytes

from ..fakes import FakeEngine

GIB = 2**30
GENERATES = frozenset({Capability.GENERATE})
_ENGINE = FakeEngine.embedder()
_ENGINE.loaded = True
_INFO = _ENGINE.info
SIZES = {"8b": 16 * GIB, "1b": 2 * GIB, "tiny": GIB // 10}


def room(total: float = 80, max_loaded: int = 0) -> Room:
    return Room(int(total * GIB), int(total * GIB), max_loaded, lambda source: SIZES[source])


def entry(source: str, **fields: object) -> ModelEntry:
    made = ModelEntry(source, FakeEngine(source), source)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def ready(source: str, gib: float, **fields: object) -> ModelEntry:
    return entry(source, state=ModelState.READY, granted=int(gib * GIB), ready_time=1.0, **fields)


def test_one_model_gets_nearly_all() -> None:
    alone = entry("8b")
    assert room().grant(alone, [alone]) == 76 * GIB
    assert room(max_loaded=1).grant(alone, [alone]) == 80 * GIB


def test_models_named_at_start_share_by_their_size_and_fill_the_budget() -> None:
    models = [entry("8b"), entry("1b"), entry("tiny")]
    budget = room()
    for model in models:
        assert budget.victims(model, models) == []
        model.granted = budget.grant(model, models)
        assert model.granted >= budget.need(model)
        model.state = ModelState.READY
    big, small, tiny = (model.granted / GIB for model in models)
    assert big + small + tiny == pytest.approx(76, rel=1e-6)
    assert big == pytest.approx(76 * 19.45 / (19.45 + 2.65 + 0.37), rel=1e-3)
    later = entry("tiny", id="later", named=False)
    assert budget.victims(later, [*models, later]) == []
    assert budget.grant(later, [*models, later]) == pytest.approx(GIB, abs=9)


def test_only_named_models_that_fit_are_planned_for() -> None:
    models = [entry("8b", id=f"8b-{i}") for i in range(10)]
    assert room(84).grant(models[0], models) == pytest.approx(20 * GIB, rel=1e-6)


def test_one_that_only_embeds_keeps_what_it_needs() -> None:
    info = dataclasses.replace(_INFO, weight_bytes=GIB)
    encoder = ready("tiny", 40, info=info)
    room().settle(encoder)
    assert encoder.granted == room().need(encoder) == round(1.2 * GIB) + 2**28
    generator = ready("tiny", 40, info=dataclasses.replace(info, capabilities=GENERATES))
    room().settle(generator)
    assert generator.granted == 40 * GIB


def test_max_loaded_plans_for_models_to_come() -> None:
    first = entry("8b")
    assert room(max_loaded=4).grant(first, [first]) == 20 * GIB


def test_the_least_recently_used_idle_model_goes() -> None:
    old, new = ready("1b", 30, last_used=1.0), ready("1b", 30, last_used=2.0)
    pinned = ready("1b", 5, last_used=0.0, pinned=True)
    busy = ready("1b", 5, last_used=0.0, running=3)
    wanted = entry("8b")
    assert room().victims(wanted, [new, pinned, old, busy, wanted]) == [old]
    assert room(max_loaded=4).victims(wanted, [new, pinned, old, busy, wanted]) == [old]
    assert room(max_loaded=5).victims(wanted, [new, pinned, old, busy, wanted]) == [old]


def test_what_is_going_already_goes_first() -> None:
    going = ready("1b", 30, last_used=9.0)
    going.state = ModelState.UNLOADING
    idle, wanted = ready("1b", 50, last_used=1.0), entry("8b")
    assert room().victims(wanted, [idle, going, wanted]) == [going]


def test_no_room_says_who_has_it() -> None:
    models = [
        ready("1b", 50, id="pet", pinned=True),
        ready("1b", 20, id="busy", running=3),
        entry("1b", id="slow", state=ModelState.LOADING, granted=9 * GIB),
    ]
    wanted = entry("8b")
    with pytest.raises(ResourceExhausted) as caught:
        room().victims(wanted, [*models, wanted])
    assert caught.value.reason == "NO_ROOM_FOR_MODEL" and caught.value.retry_after
    for part in ("8b needs about 19.45 GiB", "80.00 GiB", "pet 50.00 GiB (pinned)",
                 "busy 20.00 GiB (3 requests)", "slow 9.00 GiB (loading)"):  # fmt: skip
        assert part in caught.value.message
    with pytest.raises(ResourceExhausted, match="1 models at most"):
        room(max_loaded=1).victims(entry("tiny"), models[:1])


def test_a_model_larger_than_reckoned_may_try_with_all_there_is() -> None:
    alone = entry("8b")
    assert room(17).victims(alone, [alone]) == []
    assert room(17).grant(alone, [alone]) == 17 * GIB


def test_budgets_are_shares_or_bytes() -> None:
    made = Room.of(ModelsSettings(memory_budget=0.5), 0.25, 100 * GIB, lambda _: 0)
    assert (made.total, made.each) == (50 * GIB, 25 * GIB)
    made = Room.of(ModelsSettings(memory_budget=3 * GIB), 0.8, 100 * GIB, lambda _: 0)
    assert (made.total, made.each) == (3 * GIB, 3 * GIB)


def test_sizes_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "b.safetensors").write_bytes(b"x" * 10)
    (tmp_path / "config.json").write_bytes(b"{}")
    assert weight_file_bytes(str(tmp_path)) == 110
    assert weight_file_bytes(str(tmp_path / "a.safetensors")) == 100
    assert weight_file_bytes("nobody/has-this") == 0
    assert weight_file_bytes("all-minilm-l6-v2") > 80_000_000
