"""How far a load is, and which error of it is whose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import EngineError, LoadError


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is. ``phase``: ``download`` (bytes of all files) or ``weights`` (bytes)."""

    phase: str
    done: int
    total: int


ProgressCallback = Callable[[Progress], None]


class Reporter:
    """Tells a callback, if there is one, and remembers what it raised to end the load."""

    def __init__(self, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self._raised: BaseException | None = None

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Report ``done`` of ``total`` bytes; what the callback raises is passed on."""
        if self._callback is None:
            return
        if self._raised is not None:  # a download's other threads end with the same
            raise self._raised
        try:
            self._callback(Progress(phase, done, total))
        except BaseException as error:
            self._raised = error
            raise

    @contextmanager
    def load_errors(self, name: str) -> Iterator[None]:
        """Turn whatever a model's files make the libraries raise into ``LoadError``.

        The callback's own exceptions pass. Libraries raise anything here: mlx-lm's classes
        divide by a setting, index a list with another, or assert.
        """
        try:
            yield
        except EngineError:
            raise
        except Exception as error:
            if error is self._raised:
                raise
            detail = str(error) or type(error).__name__
            raise LoadError(f"{name} cannot be loaded: {detail}") from error
