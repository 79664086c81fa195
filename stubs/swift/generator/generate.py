"""Generates the Swift types of the schema: ``python stubs/swift/generator/generate.py [--check]``.

Writes ``Sources/MLXForgeClient/Generated`` from ``proto/``, and the types of a schema with every
kind of field, for the tests, into ``Tests/RoundTrip``. ``--check`` writes nothing and fails when
what is committed is stale.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import source
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from names import swift_name

PACKAGE = Path(__file__).resolve().parent.parent
PROTO = PACKAGE.parent.parent / "proto"
TARGET = PACKAGE / "Sources" / "MLXForgeClient" / "Generated"
EVERY_KIND = PACKAGE / "Tests" / "RoundTrip" / "every_kind.proto"


def descriptors(root: Path, files: list[Path]) -> list[FileDescriptorProto]:
    """The files' descriptors, with their comments, by name."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "schema.binpb"
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", "--include_source_info"]
            + [f"--descriptor_set_out={output}", *map(str, files)],
            check=True,
        )
        made = FileDescriptorSet.FromString(output.read_bytes())
    return sorted(made.file, key=lambda file: file.name)


def generate() -> dict[Path, str]:
    """The text of every generated file."""
    files: dict[Path, str] = {}
    for file in descriptors(PROTO, sorted(PROTO.glob("mlxforge/v1/*.proto"))):
        name = swift_name(Path(file.name).stem, upper=True)
        files[TARGET / f"{name}.swift"] = source.swift_file(file)
    for file in descriptors(EVERY_KIND.parent, [EVERY_KIND]):
        text = source.swift_file(file, imports=("Foundation", "MLXForgeClient"))
        files[EVERY_KIND.with_name("EveryKind.swift")] = text
    return files


def main() -> int:
    """Generate, or compare; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail when a file is stale")
    check = parser.parse_args().check
    files = generate()
    stale = [path for path in TARGET.glob("*.swift") if path not in files]
    stale += [path for path, text in files.items() if _text(path) != text]
    if not check:
        TARGET.mkdir(parents=True, exist_ok=True)
        for path in stale:
            if path in files:
                path.write_text(files[path], encoding="utf-8")
            else:
                path.unlink()
    names = ", ".join(sorted(str(path.relative_to(PACKAGE)) for path in stale))
    if check and stale:
        print(f"stubs/swift is stale, run `make proto`: {names}", file=sys.stderr)
        return 1
    print(f"stubs/swift: {len(files)} files, {len(stale)} {'stale' if check else 'written'}")
    return 0


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
