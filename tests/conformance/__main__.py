"""Runs the conformance suite: ``python -m tests.conformance [--only TEXT] [LANGUAGE/DOOR…]``."""

from __future__ import annotations

import argparse
import asyncio
import sys

from .cases import Case, read_cases
from .environment import LANGUAGES, Missing
from .plan import Column, run_columns
from .suite import matrix


def main() -> int:
    """Run, print the matrix, return the exit status."""
    columns = [Column(language, door) for language in LANGUAGES for door in language.doors]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="only cases whose names contain this")
    parser.add_argument("columns", nargs="*", help=f"of {', '.join(c.title for c in columns)}")
    arguments = parser.parse_args()
    wanted = arguments.columns or [column.title for column in columns]
    cases: list[Case] = [case for case in read_cases() if arguments.only in case.name]
    results = asyncio.run(run_columns([c for c in columns if c.title in wanted], cases))
    shown = [(title, found) for title, found in results.items() if not isinstance(found, Missing)]
    print(matrix(shown, cases))
    for title, found in results.items():
        if isinstance(found, Missing):
            print(f"{title} skipped: {found}")
    return int(any(wrong for _, found in shown for wrong in found.values()))


if __name__ == "__main__":
    sys.exit(main())
