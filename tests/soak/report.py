"""What a stage of the soak leaves behind: a table, checks that held or not, JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import report as bench_report


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold: what was seen, and what is allowed."""

    name: str
    seen: float
    allowed: str
    held: bool


@dataclass(slots=True)
class Report:
    """What one stage saw."""

    rows: list[Mapping[str, Any]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def at_most(self, name: str, seen: float, limit: float) -> None:
        self.checks.append(Check(name, seen, f"<= {limit:g}", seen <= limit))

    def at_least(self, name: str, seen: float, limit: float) -> None:
        self.checks.append(Check(name, seen, f">= {limit:g}", seen >= limit))

    def equal(self, name: str, seen: float, wanted: float) -> None:
        self.checks.append(Check(name, seen, f"= {wanted:g}", seen == wanted))

    @property
    def held(self) -> bool:
        return all(check.held for check in self.checks)


def save(name: str, report: Report, scale: float, seconds: float, folder: Path) -> None:
    """Print the stage's tables and write ``NAME.json``."""
    for rows in (report.rows, _shown(report.checks)):
        print(bench_report.table(rows) + "\n", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "stage": name,
        **bench_report.environment(),
        "scale": scale,
        "seconds": round(seconds, 1),
        "held": report.held,
        "checks": [asdict(check) for check in report.checks],
        "rows": list(report.rows),
        **report.details,
    }
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _shown(checks: Sequence[Check]) -> list[Mapping[str, Any]]:
    return [
        {"check": c.name, "seen": c.seen, "allowed": c.allowed, "": "ok" if c.held else "FAILED"}
        for c in checks
    ]


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all are at or below; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Watch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start
