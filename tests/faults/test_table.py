"""Every fault and advisory has its tests, and the documentation says which."""

from __future__ import annotations

from ..soak.stages import STAGES
from . import table


def test_every_row_has_tests_that_exist() -> None:
    assert [row["number"] for row in table.content()["fault"]] == list(range(1, 36))
    assert len(table.content()["advisory"]) == 19
    assert all(row["tests"] for row in table.content()["fault"] + table.content()["advisory"])
    assert [test for test in table.tests_named() if not table.exists(test)] == []
    assert {row["soak"] for row in table.content()["fault"] if "soak" in row} <= set(STAGES)


def test_the_check_can_fail() -> None:
    assert table.exists("tests/faults/test_table.py::test_the_check_can_fail")
    assert not table.exists("tests/faults/test_table.py::test_that_is_not_there")
    assert not table.exists("tests/faults/test_nothing.py::test_the_check_can_fail")


def test_the_documentation_says_what_is_so() -> None:
    """``python -m tests.faults.table`` prints what belongs between the marks."""
    _, _, rest = table.DOCUMENT.read_text(encoding="utf-8").partition("<!-- faults -->\n")
    written, mark, _ = rest.partition("<!-- /faults -->")
    assert mark and written.strip() == table.markdown()
