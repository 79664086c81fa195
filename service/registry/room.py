"""How the memory of the device is divided among models, and who goes to make room.

All that models may hold is granted out of one budget, so it is never promised twice: a model
gets what it needs at least and its part of what is left once the other models that are named
in the settings have got theirs. Its engine keeps within that (``EngineConfig.memory_budget``).
What it needs is reckoned from the size of its files, or known from its last load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mlxforge.engine.errors import ResourceExhausted
from mlxforge.engine.output import Capability

from .entry import ModelEntry, ModelState
from .settings import ModelsSettings

_SLACK = 1.2
"""Weights, and a little KV memory in proportion to them."""
_LEAST = 256 * 2**20
"""Activations and KV memory of the smallest models."""
_SPARE = 4 * 2**30
"""Left (at most a quarter) for models that only LoadModel names, if ``max_loaded`` plans none."""

Sizer = Callable[[str], int]
"""Bytes of a source's weight files; 0: not known."""


@dataclass(slots=True)
class Room:
    """The budget of all models. Its methods look and never wait."""

    total: int
    """Bytes that all models together may hold."""
    each: int
    """Most bytes of one model."""
    max_loaded: int
    """Most models at once; 0: as many as fit."""
    size_of: Sizer

    @classmethod
    def of(cls, settings: ModelsSettings, each: float, device_bytes: int, size_of: Sizer) -> Room:
        """The room on a device; ``each`` is a model's own budget, as the settings write it."""
        total = _bytes(settings.memory_budget, device_bytes)
        return cls(total, min(total, _bytes(each, device_bytes)), settings.max_loaded, size_of)

    def victims(self, entry: ModelEntry, entries: Iterable[ModelEntry]) -> list[ModelEntry]:
        """Who must go before ``entry`` is loaded, least recently used first.

        Never those that are pinned, loading, or used by a request; and for a model that the
        settings do not name, those that they name only go where ``max_loaded`` says how many
        to hold. Raises ``ResourceExhausted`` when that is not enough.
        """
        holders = [e for e in entries if e.granted and e is not entry]
        going = [e for e in holders if e.state is ModelState.UNLOADING]
        stay = not entry.named and not self.max_loaded
        idle = [e for e in holders if e.idling and not e.pinned and not (stay and e.named)]
        idle.sort(key=lambda e: e.last_used)
        need, free = min(self.need(entry), self.each), self._free(holders)
        chosen: list[ModelEntry] = []
        for candidate in [*going, *idle]:
            if self._fits(need, free, len(holders) - len(chosen)):
                break
            chosen.append(candidate)
            free += candidate.granted
        if not self._fits(need, free, len(holders) - len(chosen)):
            raise self._no_room(entry, need, holders)
        return chosen

    def grant(self, entry: ModelEntry, entries: Iterable[ModelEntry]) -> int:
        """The bytes that ``entry`` may hold, once ``victims`` are gone."""
        others = [e for e in entries if e is not entry]
        holders = [e for e in others if e.granted]
        free, need = self._free(holders), self.need(entry)
        later = list(self._later(others, free - need))
        if self.max_loaded:
            slots = max(0, self.max_loaded - len(holders) - 1)
            later = (later + [need] * slots)[:slots]
            part = free * need // (need + sum(later))
        elif entry.named:
            spare = min(_SPARE, self.total // 4)
            part = max(0, free - spare) * need // (need + sum(later))
        else:
            part = free // 4
        return min(self.each, free, max(need, part))

    def settle(self, entry: ModelEntry) -> None:
        """Take back what a loaded model has no use for: one that only embeds has no KV memory."""
        if entry.granted and not entry.can(Capability.GENERATE):
            entry.granted = min(entry.granted, self.need(entry))

    def need(self, entry: ModelEntry) -> int:
        """The least that a model should have, in bytes."""
        weights = entry.info.weight_bytes if entry.info is not None else self.size_of(entry.source)
        return round(_SLACK * weights) + _LEAST

    def _later(self, others: Iterable[ModelEntry], free: int) -> Iterator[int]:
        """What the models named in the settings need that are not in memory, as far as they fit."""
        for entry in others:
            if entry.named and not entry.granted and entry.state is not ModelState.FAILED:
                need = self.need(entry)
                free -= need
                if free >= 0:
                    yield need

    def _free(self, holders: Iterable[ModelEntry]) -> int:
        return max(0, self.total - sum(e.granted for e in holders))

    def _fits(self, need: int, free: int, loaded: int) -> bool:
        return free >= need and (not self.max_loaded or loaded < self.max_loaded)

    def _no_room(
        self, entry: ModelEntry, need: int, holders: Iterable[ModelEntry]
    ) -> ResourceExhausted:
        held = ", ".join(f"{e.id} {_size(e.granted)} ({_why(e)})" for e in holders) or "nothing"
        most = f", {self.max_loaded} models at most" if self.max_loaded else ""
        return ResourceExhausted(
            f"model {entry.id} needs about {_size(need)}; models may hold "
            f"{_size(self.total)}{most}, and hold: {held}. Unload one, or try again when they "
            "are idle",
            reason="NO_ROOM_FOR_MODEL",
        )


def weight_file_bytes(source: str) -> int:
    """Bytes of a source's weight files on this machine; 0 where there are none (yet)."""
    from mlxforge.engine.errors import LoadError
    from mlxforge.engine.loader import resolve

    try:
        path = resolve(source, offline=True)
    except LoadError:
        return 0
    files = path.glob("*.safetensors") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _why(entry: ModelEntry) -> str:
    """Why a model that holds memory is not unloaded."""
    if entry.state is not ModelState.READY:
        return entry.state.value
    if entry.running:
        return f"{entry.running} requests"
    return "pinned" if entry.pinned else "named at start" if entry.named else "idle"


def _bytes(budget: float, device_bytes: int) -> int:
    return int(budget * device_bytes) if budget <= 1 else int(budget)


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
