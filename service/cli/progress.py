"""Progress bars of loading models, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from mlxforge.engine.loader import Progress as LoadStep

_PHASES = {"download": "fetching", "weights": "reading"}


class LoadProgress:
    """One bar for each phase of each model; lines instead where there is no terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=self._quiet,
        )
        self._tasks: dict[tuple[str, str], TaskID] = {}

    def __enter__(self) -> LoadProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bars away."""
        self._bars.stop()

    def of(self, model_id: str) -> Callable[[LoadStep], None]:
        """Hears how far a model's load is, on any thread."""

        def update(step: LoadStep) -> None:
            if self._quiet:
                return
            task = self._tasks.get((model_id, step.phase))
            if task is None:
                phase = _PHASES.get(step.phase, step.phase)
                task = self._bars.add_task(f"{phase} {model_id}", total=step.total or None)
                self._tasks[model_id, step.phase] = task
            self._bars.update(task, completed=step.done, total=step.total or None)

        return update
