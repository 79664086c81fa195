"""What all tests share: no model hub, and MLX with the BLAS that users get."""

from __future__ import annotations

import os

from mlxforge.engine import blas

# Before anything imports huggingface_hub, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"

blas.preload()
