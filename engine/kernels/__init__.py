"""CUDA kernels of the decode step, compiled at run time by MLX from the sources here.

``cpu`` is apart: what MLX's CPU backend on Linux does slowly, in operations that it does fast.

Small models are bound by launching kernels and all models by reading memory, so each kernel
does in one pass what takes several MLX operations. Every one has a portable counterpart in
MLX operations (``kv.slots``, ``model.llama``, ``sampling.nucleus``), which is what runs on
CPU and on Metal; the tests on a GPU hold the two against each other. There is no Metal twin
and nothing here was run on Metal: MLX's vector attention takes a bool mask well there.
"""

from .cuda import available

__all__ = ["available"]
