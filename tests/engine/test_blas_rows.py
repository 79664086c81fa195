"""Products of few rows, by each kind of processor's instructions, against NumPy's."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

SOURCE = Path(__file__).resolve().parents[2] / "engine/blas_shim/rows.c"
KINDS = ["plain"]
if platform.machine() == "x86_64" and sys.platform == "linux":
    flags = Path("/proc/cpuinfo").read_text().split()
    KINDS += [kind for kind, flag in (("avx2", "avx2"), ("avx512", "avx512f")) if flag in flags]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="for Linux CPUs")

Floats = NDArray[np.float32]


class Product(ctypes.Structure):
    """``rows_product`` of rows.h."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("m", "n", "k", "lda", "ldb", "ldc")),
        ("b_transposed", ctypes.c_bool),
        *((name, ctypes.c_float) for name in ("alpha", "beta")),
        *((name, ctypes.c_void_p) for name in ("a", "b", "c")),
    )


@pytest.fixture(scope="module", params=KINDS)
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    compiler = os.environ.get("CC", "cc")
    path = tmp_path_factory.mktemp("rows") / f"{request.param}.so"
    options = ["-O2", "-std=c11", "-shared", "-fPIC", "-pthread", "-Wno-unused-function"]
    command = [compiler, *options, f"-DROWS_COLUMNS={request.param}_columns", str(SOURCE)]
    subprocess.run([*command, "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def compute(
    library: ctypes.CDLL,
    a: Floats,
    b: Floats,
    c: Floats,
    *,
    transposed: bool,
    alpha: float = 1.0,
    beta: float = 0.0,
    threads: int = 1,
) -> None:
    m, k = a.shape
    n = b.shape[0] if transposed else b.shape[1]
    strides = (array.strides[0] // 4 for array in (a, b, c))
    places = (array.ctypes.data for array in (a, b, c))
    product = Product(m, n, k, *strides, transposed, alpha, beta, *places)
    library.rows_compute(ctypes.byref(product), threads)


def arrays(m: int, n: int, k: int, transposed: bool) -> tuple[Floats, ...]:
    """``a``, ``b`` and ``c``."""
    return tuple(_spaced(m, n, k, transposed, 0))


def _spaced(m: int, n: int, k: int, transposed: bool, apart: int) -> list[Floats]:
    """The same with ``apart`` floats between their rows, which are in the arrays."""
    random = np.random.default_rng(m * 1000 + n * 10 + k)
    shapes = ((m, k), (n, k) if transposed else (k, n), (m, n))
    return [random.normal(size=(h, w + apart)).astype(np.float32) for h, w in shapes]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 3), (64, 200), (200, 64), (33, 17), (1000, 130)])
@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 7, 8, 31])
def test_products_are_right(library: ctypes.CDLL, m: int, n: int, k: int, transposed: bool) -> None:
    for apart, alpha, beta, threads in ((0, 1.0, 0.0, 1), (3, 0.5, 2.0, 1), (1, 1.0, 0.0, 3)):
        whole = _spaced(m, n, k, transposed, apart)
        a, b, c = (array[:, : array.shape[1] - apart] for array in whole)
        around = whole[2].copy()
        product = a.astype(np.float64) @ (b.T if transposed else b)
        wanted = alpha * product + beta * c
        if beta == 0.0:
            c[:] = np.nan  # what was there is not read
        compute(library, a, b, c, transposed=transposed, alpha=alpha, beta=beta, threads=threads)
        np.testing.assert_allclose(c, wanted, atol=2e-4)
        # What lies between the rows is not written.
        np.testing.assert_array_equal(whole[2][:, n:], around[:, n:])


def test_threads_compute_at_once(library: ctypes.CDLL) -> None:
    """One of them gets the helpers, the others do without; all are right."""
    wrong: list[str] = []

    def run(m: int) -> None:
        a, b, c = arrays(m, 1500, 130, True)
        wanted = a @ b.T
        for _ in range(200):
            c[:] = 0
            compute(library, a, b, c, transposed=True, threads=4)
            if not np.allclose(c, wanted, atol=1e-3):
                wrong.append(f"{m} rows")

    running = [threading.Thread(target=run, args=(m,)) for m in (1, 3, 8)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    assert not wrong


def test_a_forked_child_has_helpers_of_its_own(library: ctypes.CDLL) -> None:
    a, b, c = arrays(4, 1500, 130, True)
    compute(library, a, b, c, transposed=True, threads=4)
    wanted = c.copy()
    if (child := os.fork()) == 0:
        library.rows_forked()  # as the shim's fork handler does
        c[:] = 0
        compute(library, a, b, c, transposed=True, threads=4)
        os._exit(0 if np.array_equal(c, wanted) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
