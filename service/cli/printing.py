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
    units = ("B", "kB", "MB", "GB", "TB")
    power = next((i for i in range(len(units)) if count < 1000 ** (i + 1)), len(units) - 1)
    value = count / 1000**power
    digits = 1 if power and value < 10 else 0
    return f"{value:.{digits}f} {units[power]}"


def table(rows: list[list[str]]) -> str:
    """Rows of cells in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
