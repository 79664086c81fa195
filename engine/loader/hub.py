"""Models from the Hugging Face hub."""

from __future__ import annotations

import fnmatch
import os
import re
import threading
from pathlib import Path
from typing import Any, ClassVar

from ..errors import LoadError
from .progress import ProgressCallback, Reporter

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
"""``owner/name``, optionally with ``@revision`` (a branch, tag or commit)."""

# Weights, settings, tokenizers and templates: never Python files, never pickles.
FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
# The same weights again, in other forms.
LEFT_OUT = ("original/*", "onnx/*", "openvino/*", "coreml/*", "consolidated*.safetensors")


def download(source: str, progress: ProgressCallback | None, *, offline: bool = False) -> Path:
    """The local folder of a hub model, fetched unless it is there; see ``HUB_ID``.

    Interrupted downloads go on where they ended. ``offline`` (or HF_HUB_OFFLINE=1) takes
    only what is in the cache. The callback gets bytes of all files; what it raises ends the
    download and is passed on. Raises ``LoadError``.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import is_offline_mode

    name, _, revision = source.partition("@")
    endpoint = os.environ.get("HF_ENDPOINT")
    offline = offline or is_offline_mode()
    report = Reporter(progress)
    meter = _Meter(report)
    try:
        with report.load_errors(f"model {name!r}{' (offline, from the cache)' * offline}"):
            if progress is not None and not offline:
                api = HfApi(endpoint=endpoint)
                tree = api.list_repo_tree(name, revision=revision or None, recursive=True)
                meter.total = _total_size(tree)
            folder = snapshot_download(
                name,
                revision=revision or None,
                endpoint=endpoint,
                allow_patterns=list(FILES),
                ignore_patterns=list(LEFT_OUT),
                local_files_only=offline,
                tqdm_class=meter.bar_class(),
            )
    except LoadError as error:
        raise _explained(name, error) from error.__cause__
    meter.finish()
    return Path(folder)


def _explained(name: str, error: LoadError) -> LoadError:
    """The error, with advice where the hub's answer calls for some."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error.__cause__, GatedRepoError):
        return LoadError(f"model {name!r} is gated: accept its terms on the hub and set HF_TOKEN")
    if isinstance(error.__cause__, RepositoryNotFoundError):
        return LoadError(f"model {name!r}: the hub has none of that name, or it is private")
    return error


def _total_size(entries: Any) -> int:
    return sum(
        entry.size
        for entry in entries
        if getattr(entry, "size", None)
        and any(fnmatch.fnmatch(entry.path, pattern) for pattern in FILES)
        and not any(fnmatch.fnmatch(entry.path, pattern) for pattern in LEFT_OUT)
    )


class _Meter:
    """Adds up the bytes of all files and tells the callback, from the download's threads."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._lock = threading.Lock()
        self.done = 0
        self.total = 0

    def add(self, count: int) -> None:
        """Count bytes that came, or were there from an interrupted download."""
        with self._lock:
            self.done = max(0, self.done + count)
            self._report("download", min(self.done, self.total), self.total)

    def finish(self) -> None:
        """All is there, whether it was fetched now or before."""
        if self.total:
            self._report("download", self.total, self.total)

    def bar_class(self) -> Any:
        """The class that ``snapshot_download`` makes its progress bars of."""
        # Only subclasses of this one are told their ``name``.
        from huggingface_hub.utils.tqdm import tqdm

        meter = self

        class Bar(tqdm):
            """Shows nothing; passes on what the bar of all files' bytes gets."""

            counted: ClassVar[str] = "huggingface_hub.snapshot_download"

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self._counts = kwargs.get("name") == self.counted
                super().__init__(  # type: ignore[no-untyped-call]  # huggingface_hub gives it no types
                    *args, **{**kwargs, "disable": True}
                )

            def update(self, n: float | None = 1) -> bool | None:
                if self._counts:
                    meter.add(int(n or 0))
                return None

        return Bar
