"""How much a constraint may cost. Each figure has a margin over real schemas."""

from __future__ import annotations

from llguidance import LLParserLimits

# Compiling, in a fork of the helper process: processor time, then wall time as the backstop for
# a machine that is too busy. Real schemas take milliseconds.
COMPILE_CPU_SECONDS = 0.8
COMPILE_WALL_SECONDS = 1.5
# For the helper's answer, and before that for its start again if it is not there: together they
# stay below two seconds.
ANSWER_SECONDS = 1.8
# Seconds that a constraint may wait for its turn at the compiler, behind others: several of
# those above may be ahead of it before it is turned away with a time to come back.
COMPILE_QUEUE_SECONDS = 10.0
# What a compilation may allocate beyond what the helper needs to stand ready.
COMPILE_MEMORY_BYTES = 64 * 2**20
# A compiled grammar's text; the schema's own size is checked before.
MAX_GRAMMAR_CHARS = 4 * 2**20


def parser_limits() -> LLParserLimits:
    """What llguidance may spend on one grammar, and on one step of one row.

    A step's lexer fuel of 400,000 is about 30 ms at the worst.
    """
    return LLParserLimits(
        initial_lexer_fuel=1_000_000,
        step_lexer_fuel=400_000,
        step_max_items=50_000,
        max_lexer_states=50_000,
        max_grammar_size=200_000,
        verbose_errors=False,
    )
