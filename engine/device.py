"""The one thread of the process that owns MLX.

MLX arrays and streams belong to the thread that made them, so everything that touches
them (loading, stepping, freeing) runs here, for all engines of the process. Engines attach
a stepper; the thread steps those that have work in turn, so that none starves, and sleeps
when none has. Nothing else in the project calls ``mlx`` on another thread.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ClassVar, Protocol, TypeVar

log = logging.getLogger(__name__)
# How long the process's end waits for the step under way.
_EXIT_SECONDS = 2.0
_NAP = 0.01
# Seconds without work after which steppers give memory back. Between the requests of a
# conversation or a batch it is kept: taking it anew costs a GPU tens of milliseconds.
_REST_AFTER = 1.0
T = TypeVar("T")


class Stepper(Protocol):
    """Something that has work on the device."""

    def step(self) -> bool:
        """Do one short piece of work; False when there was none. Must not raise."""
        ...

    def rest(self) -> None:
        """Give memory back: nothing had work for a while. Must not raise."""
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
        self._stopping = False
        self._parked = False
        self._thread = threading.Thread(target=self._run, name="mlxforge-device", daemon=True)
        self._thread.start()

    @classmethod
    def shared(cls) -> DeviceThread:
        """The process's device thread, started at the first call, stopped at exit."""
        with cls._shared_lock:
            if cls._shared is None:
                cls._shared = cls()
                atexit.register(cls._shared.stop, _EXIT_SECONDS)
            return cls._shared

    @classmethod
    def stop_shared(cls) -> None:
        """Stop the process's device thread, if there is one.

        For an interpreter that is never finalised, and so never gets to its exit handlers.
        """
        with cls._shared_lock:
            shared = cls._shared
        if shared is not None:
            shared.stop(_EXIT_SECONDS)

    @classmethod
    def begin(cls) -> None:
        """Import MLX and have it make its static objects, on the process's device thread.

        Exit handlers that are registered after this run before those objects are destroyed.
        """

        def first() -> None:
            from . import blas

            blas.preload()  # before the first import of MLX in the process
            import mlx.core as mx

            mx.eval(mx.random.uniform())

        cls.shared().call(first).result()

    @property
    def alive(self) -> bool:
        """Whether the thread still works."""
        return self._thread.is_alive() and not self._stopping

    @property
    def seconds_since_beat(self) -> float:
        """How long the current piece of work has taken; 0 while idle."""
        return 0.0 if self._idle else time.monotonic() - self._beat

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Run ``function`` on the thread, between steps. Any thread may ask.

        The future fails with ``RuntimeError`` when the thread has stopped.
        """
        future: Future[T] = Future()
        with self._wakeup:
            if self._stopping:
                future.set_exception(RuntimeError("the device thread has stopped"))
                return future
            self._calls.append((function, future))
            self._woken = True
            self._wakeup.notify()
        return future

    def stop(self, seconds: float) -> None:
        """Put the thread to sleep for good after the work under way, at most ``seconds`` later.

        It must not end: MLX keeps Python objects in thread-local memory, which would be freed
        while the interpreter goes away, and the process would abort. Asleep it does no harm.
        """
        limit = time.monotonic() + seconds
        with self._wakeup:
            self._stopping = True
            self._wakeup.notify()
        while not self._is_parked() and time.monotonic() < limit:
            time.sleep(_NAP)
        time.sleep(_NAP)  # it says so just before it sleeps

    def _is_parked(self) -> bool:
        with self._wakeup:
            return self._parked

    def clear_cache(self) -> None:
        """Give the buffers that MLX keeps for reuse back, soon. Any thread may ask."""

        def clear() -> None:
            import mlx.core as mx

            mx.clear_cache()

        self.call(clear)

    def attach(self, stepper: Stepper) -> None:
        """Step ``stepper`` whenever it has work, until it is detached."""
        if threading.current_thread() is self._thread:
            self._steppers.append(stepper)
        else:
            self.call(lambda: self._steppers.append(stepper)).result()

    def steps(self, stepper: Stepper) -> bool:
        """Whether ``stepper`` is attached and the thread lives. Any thread may ask."""
        return self.alive and stepper in self._steppers

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
            if not self._stopping:
                self._woken = True
                self._wakeup.notify()

    def _run(self) -> None:
        while True:
            self._beat = time.monotonic()
            self._run_calls()
            if self._stopping or not self._step_all():
                self._sleep()

    def _rest_all(self) -> None:
        for stepper in tuple(self._steppers):
            try:
                stepper.rest()
            except Exception:
                log.exception("a stepper failed to rest and is detached")
                self._steppers.remove(stepper)

    def _run_calls(self) -> None:
        while self._calls:
            function, future = self._calls.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except Exception as error:  # handed to the caller, the thread lives on
                _let_go(error)
                future.set_exception(error)
            except BaseException as error:  # a library called sys.exit
                future.set_exception(RuntimeError(f"the call ended with {error!r}"))

    def _step_all(self) -> bool:
        worked = False
        for stepper in tuple(self._steppers):
            if self._stopping:
                break
            self._beat = time.monotonic()
            worked |= self._step(stepper)
        return worked

    def _step(self, stepper: Stepper) -> bool:
        try:
            return stepper.step()
        except BaseException:
            log.exception("a stepper failed and is detached")
            self._steppers.remove(stepper)
            return True

    def _sleep(self) -> None:
        if self._wait(_REST_AFTER):
            return
        self._rest_all()
        self._wait(None)

    def _wait(self, seconds: float | None) -> bool:
        """Sleep until there is work, at most ``seconds``; whether there is."""
        with self._wakeup:
            self._idle = True
            woken = self._wakeup.wait_for(self._has_work, seconds)
            while self._stopping and not self._calls:
                self._parked = True
                self._wakeup.wait()
            self._idle = False
            self._woken = False
            return woken

    def _has_work(self) -> bool:
        return self._woken or self._stopping or bool(self._calls)


def _let_go(error: BaseException) -> None:
    """Free what a failed call held in its frames: arrays must not live as long as its error."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
