"""A worker: ``python -m mlxforge.service.worker SOCKET_FD FRONT_PID MODEL_ID``.

Started by ``process.WorkerProcess``; the id is there for those who read process lists.
"""

from __future__ import annotations

import sys
from functools import partial

from mlxforge.engine.local import LocalEngine

from .main import main

main(sys.argv, partial(LocalEngine, own_process=True))
