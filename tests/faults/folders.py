# ruff: noqa: E402 - MLX is imported after the BLAS
"""Model folders with bytes changed at random: ``python -m tests.faults.folders FIRST LAST``.

In a process of its own, because a parser of native code that crashes would take the caller
along. Each seed prints a line before and after: what it was when the process died is known.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import shutil
import sys
import tempfile
from pathlib import Path

from mlxforge.engine import blas

blas.preload()

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.engine import Engine
from mlxforge.engine.errors import EngineError, LoadError
from mlxforge.engine.request import GenerationRequest

from ..engine.loader.folders import write_folder

CONFIG = EngineConfig(max_running_requests=2, memory_budget=64 << 20, warm_up=False)
_VALUES: tuple[object, ...] = (
    -1, 0, 1, 2**31, 2**63, 1e308, None, True, "", "x" * 1000, [], {}, [[]], float("nan"),
)  # fmt: skip


def damage(folder: Path, seed: int) -> str:
    """Change one or two files; returns what was done."""
    dice = random.Random(seed)
    done = []
    for _ in range(dice.choice((1, 1, 2))):
        path = dice.choice(sorted(p for p in folder.iterdir() if p.is_file()))
        how = dice.choice((_flip, _flip, _cut, _empty, _value, _value, _value))
        how(path, dice)
        done.append(f"{how.__name__[1:]} {path.name}")
    return ", ".join(done)


def _flip(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(dice.choice((1, 3, 50))):
        if data:
            data[dice.randrange(min(len(data), dice.choice((64, 4096, len(data)))))] ^= (
                1 << dice.randrange(8)
            )
    path.write_bytes(data)


def _cut(path: Path, dice: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: dice.randrange(len(data) + 1)])


def _empty(path: Path, dice: random.Random) -> None:
    path.write_bytes(b"")


def _value(path: Path, dice: random.Random) -> None:
    """Another value somewhere in a JSON file."""
    try:
        content = json.loads(path.read_text())
    except ValueError:
        return _flip(path, dice)
    place = content
    while isinstance(place, (dict, list)) and place:
        key = dice.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not (isinstance(place[key], (dict, list)) and place[key]) or dice.random() < 0.2:
            place[key] = dice.choice(_VALUES)
            break
        place = place[key]
    path.write_text(json.dumps(content))
    return None


async def outcome(folder: Path) -> str:
    """``loaded``, ``answered`` or ``refused``; anything else is a fault and raises."""
    engine = Engine(str(folder), CONFIG)
    try:
        await engine.start()
    except LoadError:
        return "refused"
    try:
        asked = GenerationRequest("a", prompt="Once", max_tokens=4)
        async for _ in engine.generate(asked):
            pass
    except EngineError:
        return "loaded"
    finally:
        await engine.close()
    return "answered"


def main() -> int:
    logging.disable()
    with tempfile.TemporaryDirectory() as parent:
        sound = Path(parent) / "sound"
        write_folder(sound)
        for seed in range(*map(int, sys.argv[1:3])):
            folder = Path(parent) / "damaged"
            shutil.copytree(sound, folder)
            print(f"{seed} {damage(folder, seed)}", end=": ", flush=True)
            print(asyncio.run(asyncio.wait_for(outcome(folder), 60)), flush=True)
            shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
