"""The check of the ABI: what was released stays, and the check sees when it does not."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ABI = Path(__file__).resolve().parents[2] / "capi" / "abi"


@pytest.fixture(scope="module")
def abi() -> ModuleType:
    spec = importlib.util.spec_from_file_location("abi_check", ABI / "check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problems(
    abi: ModuleType, build: Path, tmp_path: Path, change: Callable[[str], str]
) -> list[str]:
    header = tmp_path / "mlxforge.h"
    header.write_text(change(abi.HEADER.read_text("utf-8")), "utf-8")
    baseline = json.loads(abi.BASELINE.read_text("utf-8"))
    found: list[str] = abi.check(baseline, header, abi.exported_symbols(build / "libmlxforge.so"))
    return found


def test_library_keeps_the_baseline(abi: ModuleType, build: Path, tmp_path: Path) -> None:
    assert problems(abi, build, tmp_path, lambda text: text) == []
    now = abi.read_header(abi.HEADER.read_text("utf-8"))
    assert now == json.loads(abi.BASELINE.read_text("utf-8")), "additions are not recorded"
    assert len(now["functions"]) > 20


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        (r"int64_t timeout_ms", "int32_t timeout_ms", "conflicting types"),
        (r"MLXFORGE_TIMEOUT = 3", "MLXFORGE_TIMEOUT = 5", "MLXFORGE_TIMEOUT == 3"),
        (r"MLXFORGE_STATUS_UNKNOWN = 2,", "", "MLXFORGE_STATUS_UNKNOWN"),
        (r"MLXFORGE_LOG_INFO 20", "MLXFORGE_LOG_INFO 21", "MLXFORGE_LOG_INFO == 20"),
        (r"\(\*mlxforge_text_fn\)\(const char", "(*mlxforge_text_fn)(char", "mlxforge_text_fn"),
        (r"MLXFORGE_API const char \*mlxforge_version\(void\);", "", "not in the header"),
        (
            r"uint32_t mlxforge_abi_version\(void\)",
            "uint32_t mlxforge_abi_version(int)",
            "abi_version",
        ),
        (
            r"mlxforge_queue_new\(void\);",
            "mlxforge_queue_new(void);\nMLXFORGE_API int mlxforge_x(void);",
            "mlxforge_x is not exported",
        ),
    ],
)
def test_a_break_is_seen(
    abi: ModuleType, build: Path, tmp_path: Path, pattern: str, replacement: str, said: str
) -> None:
    def change(text: str) -> str:
        changed = re.sub(pattern, lambda _: replacement, text)
        assert changed != text
        return changed

    found = problems(abi, build, tmp_path, change)
    assert any(said in problem for problem in found), found


def test_an_addition_passes(abi: ModuleType, build: Path, tmp_path: Path) -> None:
    def change(text: str) -> str:
        return text.replace(
            "MLXFORGE_STATUS_UNAUTHENTICATED = 16",
            "MLXFORGE_STATUS_UNAUTHENTICATED = 16,\n    MLXFORGE_STATUS_NEW = 17",
        )

    assert problems(abi, build, tmp_path, change) == []


def test_a_struct_is_refused(abi: ModuleType) -> None:
    with pytest.raises(ValueError, match="struct"):
        abi.read_header("typedef struct options { int n; } options;")
