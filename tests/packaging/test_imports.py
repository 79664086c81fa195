"""What importing costs: clients and the C library's host must not pay for MLX unasked."""

import subprocess
import sys

import pytest

HEAVY = ("mlx", "mlx_lm", "transformers", "torch")


def modules_after(statement: str) -> set[str]:
    """The top-level modules of a fresh interpreter that has run a statement."""
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", script]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("module", ["blas", "client", "errors", "output", "request"])
def test_engine_contracts_do_not_import_mlx(module: str) -> None:
    assert not modules_after(f"import mlxforge.engine.{module}").intersection(HEAVY)


def test_schema_imports_neither_mlx_nor_engine() -> None:
    modules = modules_after("import mlxforge.v1.generation_pb2_grpc")
    assert not modules.intersection(HEAVY)
    assert "google" in modules


def test_the_check_can_fail() -> None:
    assert "mlx" in modules_after("import mlxforge.engine.blas as b; b.preload(); import mlx.core")
