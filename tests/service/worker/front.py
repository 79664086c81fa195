"""A front with two workers: prints their process ids, then waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.service.worker.workers import scripted


async def main() -> None:
    engines = [scripted(), scripted()]
    for engine in engines:
        await engine.start()
    print(*(engine.pid for engine in engines), flush=True)
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main())
