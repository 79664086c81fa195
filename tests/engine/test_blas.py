"""The BLAS in front of MLX: it is used, right and fast, and its absence is said."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlxforge.engine import blas

LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="MLX's other backends bring a fast BLAS"
)

Preload = Callable[[], str | None]

# Prints the best of five f32 products' speed, with or without the BLAS. One thread and
# processor time, so that other programs on the same cores do not decide the test.
SPEED = """
import json, sys, time
from mlxforge.engine import blas
used = blas.preload() if sys.argv[1] == "with" else None
import mlx.core as mx
mx.set_default_device(mx.cpu)
a = mx.random.normal((512, 512))
mx.eval(a @ a)
def seconds():
    start = time.process_time()
    mx.eval(a @ a)
    return time.process_time() - start
print(json.dumps({"used": used, "gflops": 2e-9 * 512**3 / min(seconds() for _ in range(5))}))
"""


def speed(argument: str) -> dict[str, Any]:
    command = [sys.executable, "-c", SPEED, argument]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    output = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout
    return dict(json.loads(output))


@pytest.fixture
def preload(monkeypatch: pytest.MonkeyPatch) -> Preload:
    """The function without its memory, in a process that has not imported MLX."""
    monkeypatch.delitem(sys.modules, "mlx.core", raising=False)
    return blas.preload.__wrapped__


@LINUX
def test_products_are_many_times_faster() -> None:
    fast, slow = speed("with"), speed("without")
    assert "libscipy_openblas" in fast["used"]
    assert fast["gflops"] > 10 * slow["gflops"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_products_are_right(dtype: str) -> None:
    blas.preload()
    import mlx.core as mx

    random = np.random.default_rng(1)
    parts = random.normal(size=(2, 2, 70, 70))
    left, right = (parts[0] + (1j if dtype == "complex64" else 0) * parts[1]).astype(dtype)
    with mx.stream(mx.cpu):
        product = mx.array(left, getattr(mx, dtype)) @ mx.array(right.T, getattr(mx, dtype)).T
        np.testing.assert_allclose(np.array(product), left @ right, rtol=1e-3, atol=1e-3)


@LINUX
def test_absence_is_said_with_advice(
    preload: Preload, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(blas, "_load", lambda library: None)
    with caplog.at_level(logging.WARNING):
        assert preload() is None
    (record,) = caplog.records
    assert "pip install 'mlxforge[cpu]'" in record.message
    assert "apt-get install libopenblas0-pthread" in record.message


@LINUX
def test_coming_too_late_is_said(
    preload: Preload, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "mlx.core", sys)
    with caplog.at_level(logging.WARNING):
        assert preload() is None
    (record,) = caplog.records
    assert "blas.preload() first" in record.message


@LINUX
def test_system_library_is_the_second_choice(
    preload: Preload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas, "_find", lambda package, file: None)
    monkeypatch.setattr(blas, "_load", lambda library: library)
    assert preload() == "libopenblas.so.0"


@pytest.mark.parametrize("other", ["macos", "cuda"])
def test_other_backends_are_left_alone(
    other: str, preload: Preload, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(blas, "_load", loaded.append)
    if other == "macos":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:
        monkeypatch.setattr(blas, "_is_installed", lambda *names: "mlx-cuda-13" in names)
    assert preload() is None
    assert not loaded


# Ends while another thread is in the middle of a product: one has begun once the process uses
# processor time beside a main thread that sleeps, and all six take many times as much.
EXIT = """
import ctypes, time
from mlxforge.engine import blas
blas.preload()
import mlx.core as mx
mx.set_default_device(mx.cpu)
a = mx.random.normal((2000, 2000))
mx.eval(a)
begun = time.process_time() + 0.05
mx.async_eval([a @ a for _ in range(6)])
while time.process_time() < begun:
    time.sleep(0.005)
ctypes.CDLL(None).exit(7)
"""


@LINUX
def test_a_process_can_end_during_a_product() -> None:
    assert subprocess.run([sys.executable, "-c", EXIT], timeout=60).returncode == 7
