"""Errors of the ``tokenizers`` library, as ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import EngineError


@contextmanager
def native_errors(make_error: Callable[[str], EngineError]) -> Iterator[None]:
    """Turn whatever the library raises into the error that ``make_error`` makes of it.

    It raises bare ``Exception`` for damaged files, and for a panic, for example when a
    model's regular expression backtracks beyond Oniguruma's limit, a ``BaseException`` that
    would end a thread.
    """
    try:
        yield
    except (EngineError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise make_error(str(error)) from error
