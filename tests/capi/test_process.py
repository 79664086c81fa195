"""The library in its host's process: threads, fork, exit, signals, output, plugins, Python hosts.

On scripted engines; ``test_model.py`` has the same with a real one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from .conftest import SCRIPTED, Run, environment

SLOW = json.dumps({"model": "slow"})


@pytest.mark.parametrize("scenario", ["fork", "fork-before", "signals", "threads", "engines"])
def test_scenario(run: Run, scenario: str) -> None:
    done = run("process", scenario, "{}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_exit_without_freeing(run: Run) -> None:
    start = time.monotonic()
    done = run("process", "exit", SLOW)
    assert (done.returncode, done.stdout, done.stderr) == (0, "exiting\n", "")
    assert time.monotonic() - start < 10  # starting Python included


def test_text_is_utf8_in_the_c_locale(run: Run) -> None:
    done = run("process", "text", "{}", LC_ALL="C", PYTHONUTF8="0")
    assert (done.returncode, done.stdout) == (0, "Grüße aus Köln 🎉\n"), done.stderr


def test_log_goes_to_the_host(run: Run) -> None:
    done = run("process", "log", "{}")
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert any(level == "20" and source.startswith("mlxforge.") for level, source, _ in lines)


def test_loaded_as_a_plugin(run: Run, build: Path) -> None:
    done = run("plugin_host", str(build / "libmlxforge_testing.so"), "{}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"MLXFORGE_PYTHON": ""}, "MLXFORGE_PYTHON (not set)"),
        ({"MLXFORGE_PYTHON": "/nowhere/python"}, "/nowhere/python"),
        ({"MLXFORGE_PYTHON": "/usr"}, "/usr/bin/python3"),
        ({"MLXFORGE_EMBEDDED_MODULE": "/nowhere/module"}, "No module named 'module'"),
    ],
)
def test_no_python(run: Run, variables: dict[str, str], named: str) -> None:
    done = subprocess.run(
        [str(_driver(run)), "{}", "a/b", "{}"],
        env={**environment(MLXFORGE_EMBEDDED_MODULE=SCRIPTED), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and done.stdout.startswith("9 ")
    assert named in done.stdout or "no module named" in done.stdout.lower()


def _driver(run: Run) -> Path:
    return Path(run("driver").args[0])


HOST = """
    import ctypes, sys, threading
    library = ctypes.{loader}({path!r})
    engine, call = ctypes.c_void_p, ctypes.c_void_p
    library.mlxforge_engine_open.restype = ctypes.c_void_p
    library.mlxforge_call_start.restype = ctypes.c_void_p
    library.mlxforge_queue_new.restype = ctypes.c_void_p
    error = ctypes.c_void_p()
    engine = ctypes.c_void_p(library.mlxforge_engine_open(b"{{}}", ctypes.byref(error)))
    assert engine, library.mlxforge_error_code(error)
    ticks = []
    def tick():
        while not done.wait(0.01):
            ticks.append(1)
    done = threading.Event()
    ticker = threading.Thread(target=tick)
    ticker.start()
    request = b'{{"prompt": "a b c", "max_tokens": 3}}'
    events = []
    for _ in range(3):
        call = ctypes.c_void_p(library.mlxforge_call_start(
            engine, b"mlxforge.v1.GenerationService/StreamGenerate", request,
            ctypes.c_size_t(len(request)), 1, ctypes.c_int64(-1), ctypes.byref(error)))
        while (event := library.mlxforge_call_next(call, ctypes.c_int64(-1), None, None)) == 1:
            events.append(event)
        library.mlxforge_call_free(call)
    queue = ctypes.c_void_p(library.mlxforge_queue_new())
    before = len(ticks)
    assert library.mlxforge_queue_next(queue, ctypes.c_int64(300), None) == 3
    assert len(ticks) - before > 5, "the wait held the interpreter's lock"
    done.set()
    print(event, len(events), sys.stdout is sys.__stdout__)
    if {close}:
        library.mlxforge_engine_close(engine)
"""


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("loader", ["CDLL", "PyDLL"])  # PyDLL calls with the lock held
def test_host_is_python(build: Path, loader: str, close: bool) -> None:
    path = str(build / "libmlxforge_testing.so")
    code = textwrap.dedent(HOST).format(loader=loader, path=path, close=close)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(MLXFORGE_EMBEDDED_MODULE=SCRIPTED, PYTHONPATH=":".join(sys.path)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 12 True\n", "")
