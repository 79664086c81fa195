"""docs/observability.md names what there is, all of it and nothing else."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from mlxforge.service.api import request_log
from mlxforge.service.registry import Registry
from mlxforge.service.telemetry import traces
from mlxforge.service.telemetry.metrics import Metrics

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "observability.md").read_text()


def rows(section: str) -> set[str]:
    """First cells of the tables of a section."""
    _, _, rest = PAGE.partition(f"\n## {section}\n")
    return set(re.findall(r"^\| `([^`]+)` \|", re.split(r"\n## ", rest)[0], re.MULTILINE))


def exported(registry: CollectorRegistry) -> set[str]:
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in registry.collect()
    }


@pytest.mark.skipif(sys.platform != "linux", reason="process_ metrics are read from /proc")
def test_metrics() -> None:
    assert rows("Metrics") == exported(Metrics(Registry()).prometheus)


def test_log_fields() -> None:
    source = inspect.getsource(request_log.RequestLog.ended)
    written = set(re.findall(r'"(\w+)": ', source)) | set(re.findall(r'fields\["(\w+)"\]', source))
    assert rows("Logs") == written - {"fields"}


def test_span_attributes() -> None:
    source = inspect.getsource(traces)
    sent = set(re.findall(r'"((?:rpc|gen_ai|error|enduser|mlxforge)\.[\w.]+)"', source))
    sent |= {f"gen_ai.request.{name}" for name in traces._SAMPLING_PARAMS}
    assert rows("Traces") == sent
