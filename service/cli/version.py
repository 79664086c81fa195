"""``mlxforge version``: what is installed here."""

from __future__ import annotations

import json
import platform
from importlib import metadata

from . import options

_DISTRIBUTIONS = ("mlxforge", "mlx", "mlx-lm", "grpcio", "protobuf", "llguidance")


def version(as_json: options.Json = False) -> None:
    """Show the versions of mlxforge and of what its results depend on.

    Example:

        mlxforge version --json
    """
    versions = {name: installed(name) for name in _DISTRIBUTIONS}
    versions["python"] = platform.python_version()
    versions["platform"] = f"{platform.system()} {platform.machine()}"
    if as_json:
        print(json.dumps(versions))
        return
    for name, value in versions.items():
        print(f"{name} {value}")


def installed(distribution: str) -> str:
    """The version of an installed distribution."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
