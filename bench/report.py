"""What every benchmark leaves behind: a table on the screen, JSON and a plot on disk."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlx.core as mx


def environment() -> dict[str, Any]:
    """Date, hardware and versions that figures belong to."""
    versions = {}
    for name in ("mlxforge", "mlx", "mlx-lm", "mlx-cuda-13", "torch", "grpcio", "transformers"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": _device(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _device() -> str:
    if on_gpu():
        return str(mx.device_info().get("device_name", "GPU"))
    try:
        found = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
        names = [line for line in found.splitlines() if line.startswith("Model name")]
        return names[0].split(":", 1)[1].strip() if names else platform.processor()
    except (OSError, subprocess.CalledProcessError):
        return platform.processor()


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as aligned text."""
    if not rows:
        return "(nothing was measured)"
    heads = list(rows[0])
    cells = [[_text(row.get(head)) for head in heads] for row in rows]
    widths = [max(len(line[i]) for line in [heads, *cells]) for i in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [heads, ["-" * width for width in widths], *cells]
    ]
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"
    return "" if value is None else str(value)


def on_gpu() -> bool:
    """Whether MLX computes on a GPU."""
    return bool(mx.default_device().type == mx.DeviceType.gpu)


def named(path: Path) -> Path:
    """Where a result goes: what was measured on a CPU says so in its file's name."""
    return path if on_gpu() else path.with_name(f"cpu-{path.name}")


def save(name: str, rows: Sequence[Mapping[str, Any]], folder: Path, **more: Any) -> Path:
    """Print the rows and write ``NAME.json`` (``cpu-NAME.json``); returns its path."""
    print(table(rows), flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = named(folder / f"{name}.json")
    content = {"name": name, **environment(), "rows": list(rows), **more}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def bars(
    path: Path, title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], unit: str
) -> None:
    """Grouped bars, one group a label, written as PNG. Skipped without matplotlib."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("matplotlib is not installed: no plot was drawn")
        return
    figure, axes = plt.subplots(figsize=(max(6, 1.2 * len(labels)), 4.5))
    width = 0.8 / len(series)
    for place, (name, values) in enumerate(series.items()):
        places = [i + place * width for i in range(len(labels))]
        drawn = axes.bar(places, values, width, label=name)
        axes.bar_label(drawn, fmt="%.3g", fontsize=7)
    axes.set_xticks([i + 0.4 - width / 2 for i in range(len(labels))], labels, fontsize=8)
    axes.set_ylabel(unit)
    axes.set_title(title)
    axes.legend()
    figure.tight_layout()
    figure.savefig(named(path), dpi=120)
    plt.close(figure)


def cdfs(
    path: Path, title: str, panels: Mapping[str, Mapping[str, Sequence[float]]], unit: str
) -> None:
    """Cumulative distributions over a log axis, a panel each, written as PNG."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("matplotlib is not installed: no plot was drawn")
        return
    figure, found = plt.subplots(1, len(panels), figsize=(5.5 * len(panels), 4.2), squeeze=False)
    for axes, (name, series) in zip(found[0], panels.items(), strict=True):
        for label, values in series.items():
            share = [(place + 1) / len(values) for place in range(len(values))]
            axes.plot(sorted(values), share, label=label)
        axes.set_xscale("log")
        axes.set_xlabel(f"{name} ({unit})")
        axes.set_ylabel("share of all")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(named(path), dpi=120)
    plt.close(figure)
