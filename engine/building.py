"""Building something on the device thread for a caller who may go away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from .device import DeviceThread

T = TypeVar("T")


async def build_on(
    device: DeviceThread, build: Callable[[], T], release: Callable[[T], object]
) -> T:
    """What ``build`` returns on the device thread.

    When the waiting is cancelled, ``release`` lets go of it there, once it is built.
    """
    building = device.call(build)
    try:
        return await asyncio.wrap_future(building)
    except asyncio.CancelledError:
        building.add_done_callback(lambda built: _discard(device, built, release))
        raise


def _discard(device: DeviceThread, built: Future[T], release: Callable[[T], object]) -> None:
    if built.cancelled():
        return
    if built.exception() is None:
        result = built.result()
        device.call(lambda: release(result))
    else:  # it was ended midway
        device.clear_cache()
