"""The official JSON-Schema-Test-Suite (draft 2020-12), run against the grammars.

``python tests/engine/grammar/suite.py`` prints the tables of docs/structured-output.md.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from mlxforge.engine.grammar.json_schema import Refused, TooComplex, compile_schema

ROOT = Path(__file__).resolve().parents[2] / "data" / "json-schema-test-suite"
TESTS = ROOT / "tests" / "draft2020-12"
_ORDERS = 24


@dataclass(slots=True)
class FileResult:
    """Counts of one file: schemas, and instances of the schemas that were accepted."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    admitted_invalid: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


def files() -> list[Path]:
    """All files of the suite, the required ones first."""
    return [*sorted(TESTS.glob("*.json")), *sorted((TESTS / "optional").rglob("*.json"))]


def groups(path: Path) -> list[dict[str, Any]]:
    """A file's schemas, each with its instances."""
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def run_file(path: Path) -> FileResult:
    """Compile every schema of a file and try its instances, byte by byte."""
    result = FileResult(path.relative_to(TESTS).with_suffix("").as_posix())
    tokenizer = LLTokenizer("byte")
    for group in groups(path):
        result.counts["schemas"] += 1
        result.counts["all_valid"] += sum(test["valid"] for test in group["tests"])
        try:
            source = compile_schema(json.dumps(group["schema"]))
        except (Refused, TooComplex) as reason:
            _refused(result, group, reason)
            continue
        matcher = LLMatcher(
            tokenizer, source, log_level=0, limits=LLParserLimits(verbose_errors=False)
        )
        if matcher.is_error():
            result.broken.append(f"{group['description']}: {matcher.get_error()}")
            continue
        result.counts["accepted"] += 1
        for test in group["tests"]:
            _try(result, matcher, group, test)
    return result


def _refused(result: FileResult, group: dict[str, Any], reason: Exception) -> None:
    nothing = isinstance(reason, Refused) and reason.reason.startswith("no value")
    if nothing and not any(test["valid"] for test in group["tests"]):
        result.counts["empty"] += 1  # rightly: no value conforms
        return
    result.counts["refused"] += 1
    result.refusals.append(f"{group['description']}: {reason}")


def _try(
    result: FileResult, matcher: LLMatcher, group: dict[str, Any], test: dict[str, Any]
) -> None:
    texts = list(dict.fromkeys(spellings(test["data"])))
    admitted = any(admits(matcher, text.encode("utf-8", "surrogatepass")) for text in texts)
    if test["valid"]:
        result.counts["valid"] += 1
        result.counts["admitted"] += admitted
    else:
        result.counts["invalid"] += 1
        if admitted:
            result.admitted_invalid.append(f"{group['description']}: {test['description']}")


def spellings(value: Any) -> Iterator[str]:
    """The value's JSON in some orders of its keys; numbers as they are and in short."""
    for form in (value, _short(value)):
        for ordered in itertools.islice(_orders(form), _ORDERS):
            yield json.dumps(ordered, ensure_ascii=False)


def _short(value: Any) -> Any:
    """1.0 as 1: the same number."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_short(item) for item in value]
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return value


def _orders(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        inner = [list(itertools.islice(_orders(item), _ORDERS)) for item in value.values()]
        for items in itertools.product(*inner):
            for order in itertools.permutations(zip(value, items, strict=True)):
                yield dict(order)
    elif isinstance(value, list):
        inner = [list(itertools.islice(_orders(item), _ORDERS)) for item in value]
        for items in itertools.product(*inner):
            yield list(items)
    else:
        yield value


def admits(matcher: LLMatcher, text: bytes) -> bool:
    """Whether a matcher over bytes takes a whole text."""
    state = matcher.deep_copy()
    return state.try_consume_tokens(list(text)) == len(text) and state.is_accepting()


def table(results: list[FileResult]) -> str:
    """A Markdown table of the results."""
    rows = ["| file | schemas | enforced | refused | valid admitted | invalid admitted |"]
    rows.append("|---|--:|--:|--:|--:|--:|")
    total: Counter[str] = Counter()
    for result in results:
        rows.append(_row(result.name, result.counts, len(result.admitted_invalid)))
        total += result.counts
    wrong = sum(len(result.admitted_invalid) for result in results)
    rows.append(_row("**all**", total, wrong))
    return "\n".join(rows)


def _row(name: str, counts: Counter[str], wrong: int) -> str:
    enforced = counts["accepted"] + counts["empty"]
    valid = f"{counts['admitted']} of {counts['all_valid']}"
    return (
        f"| {name} | {counts['schemas']} | {enforced} | {counts['refused']} | {valid} "
        f"| {wrong} of {counts['invalid']} |"
    )


def refusals(results: list[FileResult]) -> str:
    """A Markdown list of the refused schemas, but those that refer to other documents."""
    lines = [
        f"- {result.name}: {refusal}"
        for result in results
        for refusal in result.refusals
        if "refers outside" not in refusal and "refers to nothing" not in refusal
    ]
    return "\n".join(line if len(line) < 200 else f"{line[:197]}…" for line in lines)


def report(results: list[FileResult]) -> str:
    """What docs/structured-output.md says of the suite."""
    return f"{table(results)}\n\nRefused, other than for references:\n\n{refusals(results)}\n"


if __name__ == "__main__":
    print(report([run_file(path) for path in files()]))
