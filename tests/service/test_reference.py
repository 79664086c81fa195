"""docs/configuration.md has every setting, as it is."""

from __future__ import annotations

from pathlib import Path

from mlxforge.service.config import _TYPES
from mlxforge.service.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_current() -> None:
    hint = "mlxforge config --settings > docs/configuration.md"
    assert PAGE.read_text(encoding="utf-8") == reference(), hint


def test_every_setting_is_on_it() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == sorted(
        _TYPES, key=lambda name: ("." in name, list(_TYPES).index(name))
    )


def test_settings_are_described() -> None:
    """Those of `limits` say it by their names."""
    blank = [
        row.split("`")[1]
        for row in reference().splitlines()
        if row.startswith("| `") and row.endswith("|  |")
    ]
    assert [name for name in blank if not name.startswith(("limits.", "engine."))] == []
