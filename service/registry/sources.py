"""Which models the callers of LoadModel may load.

Models are read from the server's disk and fetched with its network, so a caller may name only
what its operator named: at start, by the packages that are installed, or by ``models.allow``.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from mlxforge.engine.errors import InvalidRequest, ModelNotFound, PermissionDenied

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
"""``owner/name``, optionally with ``@revision``: as in ``engine.loader.hub``."""

MODEL_ID = re.compile(r"[A-Za-z0-9][\w.:@+-]*")
MAX_SOURCE_CHARS = 4096
MAX_ID_CHARS = 128


class Sources:
    """What may be loaded, by patterns in which ``*`` stands for any characters, ``/`` too."""

    def __init__(self, allow: Iterable[str] = (), packaged: Iterable[str] = ()) -> None:
        """``packaged``: names of models that come as Python packages."""
        self._allow = [_absolute(pattern) for pattern in allow]
        self._packaged = frozenset(packaged)
        self._named: set[str] = set()

    def name(self, source: str) -> None:
        """A source named in the settings: callers may load it, too."""
        self._named.add(self.real(source))

    def real(self, source: str) -> str:
        """A source in the one form that can be compared: paths without links and ``..``."""
        if source in self._packaged:
            return source
        path = Path(source).expanduser()
        return os.path.realpath(path) if path.is_absolute() or path.exists() else source

    def checked(self, source: str) -> str:
        """What a caller asked for, as ``real`` has it.

        Callers name paths from the root; a name is one of the hub or of a package, whatever
        the server's working folder holds. The answer is the same whether a path that may not
        be loaded exists or not. Raises ``InvalidRequest``, ``ModelNotFound`` and
        ``PermissionDenied``.
        """
        if len(source) > MAX_SOURCE_CHARS or not source.isprintable():
            raise InvalidRequest.of(
                "model", f"must be at most {MAX_SOURCE_CHARS} printable characters"
            )
        is_path = source.startswith("/")
        real = os.path.realpath(source) if is_path else source
        if real in self._packaged or real in self._named:
            return real
        is_hub_id = HUB_ID.fullmatch(source) and ".." not in source
        if not (is_path or is_hub_id):
            raise ModelNotFound(
                f"model {source[:100]!r} is none of the packaged models "
                f"({', '.join(sorted(self._packaged))}), no Hugging Face id (owner/name) and no "
                "path from the root"
            )
        if not any(fnmatch.fnmatchcase(real, pattern) for pattern in self._allow):
            raise PermissionDenied(
                f"model {source[:100]!r} may not be loaded by callers: the setting models.allow "
                "does not name it",
                reason="MODEL_NOT_ALLOWED",
            )
        return real


def checked_id(model_id: str, source: str) -> str:
    """The id under which a source is served: the given one, else the source's last part.

    What it may be is bounded: logs and metrics have it. Raises ``InvalidRequest``.
    """
    if not source:
        raise InvalidRequest.of("model", "is required")
    if not model_id:
        model_id = default_id(source)
    if len(model_id) > MAX_ID_CHARS or not MODEL_ID.fullmatch(model_id):
        raise InvalidRequest.of(
            "id",
            f"must be at most {MAX_ID_CHARS} letters, digits and any of _.:@+-, and begin with "
            "a letter or digit",
        )
    return model_id


def default_id(source: str) -> str:
    """The last part of a source."""
    return PurePath(source).name.removesuffix(".gguf") or source


def _absolute(pattern: str) -> str:
    """A path's pattern with the part before its first wildcard as the disk has it."""
    if not pattern.startswith(("/", "~", "./", "../")):
        return pattern
    path = Path(pattern).expanduser()
    plain = Path(*_until_wildcard(path.parts))
    rest = path.parts[len(plain.parts) :]
    return str(plain.resolve().joinpath(*rest))


def _until_wildcard(parts: tuple[str, ...]) -> list[str]:
    """The first parts, up to one with a wildcard."""
    found: list[str] = []
    for part in parts:
        if any(character in part for character in "*?["):
            break
        found.append(part)
    return found
