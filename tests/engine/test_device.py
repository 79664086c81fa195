"""The device thread: what it is given to do, and what it keeps."""

from __future__ import annotations

import gc
import weakref

import pytest

from mlxforge.engine.device import DeviceThread


class Weights:
    """Something large that a load holds."""


def test_a_failed_call_keeps_nothing_alive_but_its_error() -> None:
    """Not even by the frames of the errors that led to it: that would be a model's weights."""
    held: list[weakref.ref[Weights]] = []

    def load() -> None:
        weights = Weights()
        held.append(weakref.ref(weights))
        raise KeyError("missing")

    def open_model() -> None:
        buffers = Weights()
        held.append(weakref.ref(buffers))
        try:
            load()
        except KeyError as error:
            raise ValueError("broken") from error

    gc.disable()
    try:
        future = DeviceThread.shared().call(open_model)
        with pytest.raises(ValueError, match="broken"):
            future.result()
        assert len(held) == 2 and [reference() for reference in held] == [None, None]
        assert isinstance(future.exception(), ValueError)
    finally:
        gc.enable()
