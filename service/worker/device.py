"""How much memory the device has, asked of a process of its own: this one never imports MLX.

``python -m mlxforge.service.worker.device`` prints the bytes.
"""

from __future__ import annotations

import asyncio
import os
import sys

from mlxforge.engine.errors import LoadError

from .process import environment

_COMMAND = (sys.executable, "-P", "-m", "mlxforge.service.worker.device")


async def ask_device_bytes() -> int:
    """Memory of the device in bytes. Raises ``LoadError``."""
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        said, complaints = await process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise LoadError(f"MLX does not start: {complaints.decode(errors='replace').strip()}")
    return int(said)


def main() -> None:
    """Print it and end without MLX's own end, which may abort."""
    from mlxforge.engine.kv.budget import device_bytes

    sys.stdout.write(f"{device_bytes()}\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
