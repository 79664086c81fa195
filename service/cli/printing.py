"""What commands print."""

from __future__ import annotations

import sys

from google.protobuf import json_format
from google.protobuf.message import Message


def print_json(message: Message, *, indent: int | None = None) -> None:
    """A message as JSON with the schema's field names; one line unless indented."""
    text = json_format.MessageToJson(message, preserving_proto_field_name=True, indent=indent)
    print(text, flush=True)


def write(text: str) -> None:
    """Text as it comes, shown at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def size(count: int) -> str:
    """Bytes for people: ``1.5 GB``."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # noqa: B007 - the last one is kept
        if value < 1000:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def table(rows: list[list[str]]) -> str:
    """Rows of cells in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
