"""What loading a store costs in process: run as a program, it prints JSON.

python -m tests.bench.ipam_load STORE
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

BEGAN = time.perf_counter()

from tests.bench.ipam_cases import COMPILED, Database, load  # noqa: E402 - the imports are measured

IMPORTED = time.perf_counter()


def loaded(path: Path) -> dict[str, float]:
    """Load a store in a fresh process, and return what that cost."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.ipam_load", str(path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | COMPILED,
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


async def main(path: Path) -> None:
    before = _resident_mb()
    database = await Database.open(path)
    opened = time.perf_counter()
    ipam = await load(database)
    done = time.perf_counter()
    result = {
        "imports_s": IMPORTED - BEGAN,
        "open_s": opened - IMPORTED,
        "load_s": done - opened,
        "grown_mb": _resident_mb() - before,
    }
    await ipam.close()
    await database.close()
    print(json.dumps(result))


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
