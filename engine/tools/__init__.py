"""Reasoning and tool calls: how a model marks them, parsing its output, forcing calls.

``ModelFormat.detect`` is asked once per model. ``ModelFormat.parser`` gives the parser of one
answer, ``forced_call`` the grammar of a call that must be made. Nothing here imports MLX; the
converters of mlx-lm (whose package does) are loaded when the first call needs one.
"""

from .forced import ForcedCall, forced_call, with_instructions
from .format import ModelFormat
from .parser import OutputParser, ParserEvent
from .reasoning import ReasoningMarks

__all__ = [
    "ForcedCall",
    "ModelFormat",
    "OutputParser",
    "ParserEvent",
    "ReasoningMarks",
    "forced_call",
    "with_instructions",
]
