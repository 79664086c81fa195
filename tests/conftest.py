"""What all tests share: no model hub, and MLX with the BLAS that users get."""

from __future__ import annotations

import os
import signal

from mlxforge.engine import blas

# Before anything imports huggingface_hub, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"

blas.preload()

# A shell starts background jobs with Ctrl-C ignored, and their children inherit that; the
# tests that send it to a process need the usual.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
