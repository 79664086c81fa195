"""``mlxforge`` with a leak in it: what the endurance stage must notice.

Streams leave a MiB, a descriptor and a thread behind, eight times a second.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from mlxforge.service.cli import main
from mlxforge.service.server.servicer import ApiServicer

_kept: list[Any] = []
_SECONDS = 0.125
_last = 0.0
_call = ApiServicer._call


def _leaking(self: ApiServicer, *args: Any) -> Any:
    global _last
    if time.monotonic() - _last > _SECONDS:
        _last = time.monotonic()
        _kept.append(os.urandom(4096) * 256)
        _kept.append(os.open(os.devnull, os.O_RDONLY))
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    return _call(self, *args)


# In place of the method.
ApiServicer._call = _leaking  # type: ignore[assignment,method-assign]

if __name__ == "__main__":
    main()
