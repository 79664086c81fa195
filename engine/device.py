"""The one thread of the process that owns MLX.

MLX arrays and streams belong to the thread that made them, so everything that touches
them (loading, stepping, freeing) runs here, for all engines of the process. Engines attach
a stepper; the thread steps those that have work in turn, so that none starves, and sleeps
when none has. Nothing else in the project calls ``mlx`` on another thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ClassVar, Protocol, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")


class Stepper(Protocol):
    """Something that has work on the device."""

    def step(self) -> bool:
        """Do one short piece of work; False when there was none. Must not raise."""
        ...


class DeviceThread:
    """Runs calls and steps on one thread; see the module's text."""

    _shared: ClassVar[DeviceThread | None] = None
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._wakeup = threading.Condition()
        self._woken = False
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._steppers: list[Stepper] = []
        self._beat = time.monotonic()
        self._idle = False
        self._thread = threading.Thread(target=self._run, name="mlxforge-device", daemon=True)
        self._thread.start()

    @classmethod
    def shared(cls) -> DeviceThread:
        """The process's device thread, started at the first call and never stopped."""
        with cls._shared_lock:
            if cls._shared is None:
                cls._shared = cls()
            return cls._shared

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    @property
    def seconds_since_beat(self) -> float:
        """How long the current piece of work has taken; 0 while idle."""
        return 0.0 if self._idle else time.monotonic() - self._beat

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Run ``function`` on the thread, between steps. Any thread may ask."""
        future: Future[T] = Future()
        with self._wakeup:
            self._calls.append((function, future))
            self._woken = True
            self._wakeup.notify()
        return future

    def attach(self, stepper: Stepper) -> None:
        """Step ``stepper`` whenever it has work, until it is detached."""
        self.call(lambda: self._steppers.append(stepper)).result()

    def detach(self, stepper: Stepper) -> None:
        """Stop stepping ``stepper``; returns after its last step. Unknown ones are ignored."""

        def remove() -> None:
            if stepper in self._steppers:
                self._steppers.remove(stepper)

        if threading.current_thread() is self._thread:
            remove()
        else:
            self.call(remove).result()

    def wake(self) -> None:
        """Say that a stepper has work. Any thread may call it."""
        with self._wakeup:
            self._woken = True
            self._wakeup.notify()

    def _run(self) -> None:
        while True:
            self._beat = time.monotonic()
            self._run_calls()
            worked = False
            for stepper in tuple(self._steppers):
                self._beat = time.monotonic()
                worked |= self._step(stepper)
            if not worked:
                self._sleep()

    def _run_calls(self) -> None:
        while self._calls:
            function, future = self._calls.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:  # handed to the caller, the thread lives on
                future.set_exception(error)

    def _step(self, stepper: Stepper) -> bool:
        try:
            return stepper.step()
        except Exception:
            log.exception("a stepper failed and is detached")
            self._steppers.remove(stepper)
            return True

    def _sleep(self) -> None:
        with self._wakeup:
            while not (self._woken or self._calls):
                self._idle = True
                self._wakeup.wait()
            self._idle = False
            self._woken = False
