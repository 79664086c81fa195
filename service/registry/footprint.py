"""What the service's processes hold of the machine's memory."""

from __future__ import annotations

import asyncio
import contextlib

import psutil


async def resident_bytes() -> int:
    """Resident size of this process and of all below it, in bytes."""
    return await asyncio.to_thread(_resident_bytes)


def _resident_bytes() -> int:
    this = psutil.Process()
    total = 0
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            total += process.memory_info().rss
    return total
