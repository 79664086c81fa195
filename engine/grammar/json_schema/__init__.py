"""JSON Schema (Draft 2020-12) to grammars that admit conforming texts only.

A schema is unfolded into disjuncts (``expander``), each of which says what it asks of every
kind of value (``shapes``); these become rules and terminals for llguidance (``emitter``).
Whatever cannot be enforced is refused with its JSON pointer, never ignored.
"""

from .emitter import compile_parts, compile_raw, compile_schema
from .errors import Refused, TooComplex

__all__ = ["Refused", "TooComplex", "compile_parts", "compile_raw", "compile_schema"]
