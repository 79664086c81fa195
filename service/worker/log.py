"""The worker's log records, on their way to the front's log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from .messages import Log

_TEXT_CHARS = 16_384


class LinkHandler(logging.Handler):
    """Sends records as ``Log`` messages, from any thread."""

    def __init__(self, send: Callable[[Log], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._send = send
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        try:
            text = self.format(record)[:_TEXT_CHARS].encode(errors="replace").decode()
            self._loop.call_soon_threadsafe(self._send, Log(record.levelno, record.name, text))
        except RuntimeError:  # the loop is closed: the process ends
            pass
        except Exception:
            self.handleError(record)
