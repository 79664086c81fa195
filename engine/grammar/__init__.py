"""Constrained output: grammars that decide which tokens may come next.

``GrammarCompiler`` turns a ``Constraint`` into a ``Grammar`` (off the MLX thread, cached,
limited); ``Grammar.start()`` gives the state of one answer; ``fill_masks`` computes the
masks of a batch on the CPU, rows in parallel with the GIL released. Nothing here imports MLX.
"""

from .compiler import GrammarCompiler
from .matcher import Grammar, GrammarState, fill_masks
from .template import GrammarTemplate, TemplateSchema

__all__ = [
    "Grammar",
    "GrammarCompiler",
    "GrammarState",
    "GrammarTemplate",
    "TemplateSchema",
    "fill_masks",
]
