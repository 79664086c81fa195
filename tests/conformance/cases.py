"""The cases: JSON files read into values, and checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from mlxforge.v1 import embedding_pb2, generation_pb2, model_pb2, tokenizer_pb2

FOLDER = Path(__file__).parent / "cases"
ENGINES = ("default", "scripted", "guarded")

METHODS: dict[str, MethodDescriptor] = {
    method.name: method
    for file in (generation_pb2, embedding_pb2, tokenizer_pb2, model_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""All RPCs of the schema, by name."""

_EXPECT_KEYS = {"code", "reason", "fields", "retry", "message", "responses", "answer", "each"}
_EXPECT_KEYS |= {"text", "pieces", "json", "equals", "norm", "similar"}
_STEP_KEYS = {"id", "rpc", "request", "requests", "timeout_ms", "cancel_after", "expect"}


@dataclass(frozen=True)
class Step:
    """One call of a case."""

    id: str
    rpc: str
    requests: tuple[Any, ...]
    """In the JSON form of the schema; ``{"$ref": "step.path"}`` stands for an earlier result."""
    expect: dict[str, Any]
    timeout_ms: int = -1
    cancel_after: int = -1
    """Cancel after so many responses; -1: never."""


@dataclass(frozen=True)
class Case:
    """Calls made one after the other, and what must come back."""

    name: str
    about: str
    engine: str
    steps: tuple[Step, ...]
    runners: frozenset[str] = field(default_factory=frozenset)
    """The only runners it is for; empty: all."""


def read_cases(folder: Path = FOLDER) -> list[Case]:
    """All cases, by file and in the files' order. Raises ``ValueError`` at a slip of the pen."""
    cases = [case for path in sorted(folder.glob("*.json")) for case in _read_file(path)]
    names = [case.name for case in cases]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"case names must be unique: {sorted(repeated)}")
    return cases


def _read_file(path: Path) -> Iterator[Case]:
    content = json.loads(path.read_text(encoding="utf-8"))
    engine = content.get("engine", "default")
    if engine not in ENGINES:
        raise ValueError(f"{path.name}: engine must be one of {ENGINES}")
    for each in content["cases"]:
        name = f"{path.stem}/{each.pop('name')}"
        about, runners = each.pop("about"), frozenset(each.pop("runners", ()))
        steps = each.pop("steps", None) or [each]
        yield Case(name, about, engine, tuple(_step(name, step) for step in steps), runners)


def _step(case: str, step: dict[str, Any]) -> Step:
    if unknown := step.keys() - _STEP_KEYS:
        raise ValueError(f"{case}: unknown keys {sorted(unknown)}")
    if unknown := step.get("expect", {}).keys() - _EXPECT_KEYS:
        raise ValueError(f"{case}: unknown expectations {sorted(unknown)}")
    if step["rpc"] not in METHODS:
        raise ValueError(f"{case}: no RPC {step['rpc']}")
    requests = step["requests"] if "requests" in step else [step.get("request", {})]
    if isinstance(requests, dict):
        request, times = requests["$times"]
        requests = [request] * times
    return Step(
        id=step.get("id", ""),
        rpc=step["rpc"],
        requests=tuple(requests),
        expect=step.get("expect", {}),
        timeout_ms=step.get("timeout_ms", -1),
        cancel_after=step.get("cancel_after", -1),
    )
