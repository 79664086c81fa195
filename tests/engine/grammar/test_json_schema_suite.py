"""No invalid instance of the official suite is admitted, and most schemas are enforced."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from mlxforge.engine.errors import EngineError
from mlxforge.engine.grammar import GrammarCompiler
from mlxforge.engine.request import Constraint, ConstraintKind
from mlxforge.engine.tokenizer import Tokenizer

from . import suite

# JSONSchemaBench's best engine covers 83.9 % of the suite; so much of the schemas is to be
# enforced here, and of the valid instances admitted, those of refused schemas counted.
COVERED = 0.839


@pytest.fixture(scope="module")
def results() -> list[suite.FileResult]:
    return [suite.run_file(path) for path in suite.files()]


def test_no_invalid_instance_is_admitted(results: list[suite.FileResult]) -> None:
    assert [wrong for result in results for wrong in result.admitted_invalid] == []
    assert sum(result.counts["invalid"] for result in results) > 800


def test_every_accepted_schema_compiles(results: list[suite.FileResult]) -> None:
    assert [problem for result in results for problem in result.broken] == []


def test_enough_is_covered(results: list[suite.FileResult]) -> None:
    total: Counter[str] = Counter()
    for result in results:
        total += result.counts
    assert (total["accepted"] + total["empty"]) / total["schemas"] >= COVERED
    assert total["admitted"] / total["all_valid"] >= COVERED
    assert total["admitted"] / total["valid"] >= 0.9
    # Formats of which only a part is admitted set aside (docs/structured-output.md).
    kept = [r.counts for r in results if "format" not in r.name]
    assert sum(c["admitted"] for c in kept) / sum(c["valid"] for c in kept) >= 0.99


def test_the_documentation_says_what_is_so(results: list[suite.FileResult]) -> None:
    """``python tests/engine/grammar/suite.py`` prints what belongs between the marks."""
    document = Path(__file__).parents[3] / "docs" / "structured-output.md"
    _, _, rest = document.read_text(encoding="utf-8").partition("<!-- suite -->\n")
    written, mark, _ = rest.partition("<!-- /suite -->")
    assert mark and written.strip() == suite.report(results).strip()


@pytest.mark.parametrize("path", suite.files()[::3], ids=lambda path: path.stem)
def test_with_a_real_vocabulary(
    compiler: GrammarCompiler, tokenizer: Tokenizer, path: Path
) -> None:
    """A sample of the suite, token by token, through the whole compiler."""
    for group in suite.groups(path)[:2]:
        try:
            grammar = compiler.compile(
                Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(group["schema"]))
            )
        except EngineError:
            continue
        for test in group["tests"]:
            text = json.dumps(test["data"], ensure_ascii=False)
            if "\\ud" in json.dumps(test["data"]):
                continue  # a lone surrogate is no text
            ids = tokenizer.encode(text, add_special_tokens=False)
            state = grammar.start()
            taken = state.accepts(ids)
            if taken == len(ids):
                for token in ids:
                    state.accept(token)
            assert test["valid"] or not (taken == len(ids) and state.can_end), test
