"""The writer is killed with SIGKILL; what it had acknowledged must be there."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from ovsdriver.adapters.store.database import Database

async def main():
    database = await Database.open(Path(sys.argv[1]))
    async def caller(name):
        for n in itertools.count():
            key = f"{sys.argv[2]}-{name}-{n}"
            await database.write(
                lambda c: c.execute("INSERT INTO note VALUES (?, '')", (key,)).rowcount)
            print(key, flush=True)
    await asyncio.gather(*(caller(n) for n in range(10)))

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 50, 400])
def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path, acknowledged: int):
    path = tmp_path / "state.db"
    told: set[str] = set()
    for round_ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(round_)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(acknowledged):
                told.add(writer.stdout.readline().strip())
            writer.kill()
            # What it still printed before the kill was acknowledged too; a cut line was not.
            told |= {line.strip() for line in writer.stdout if line.endswith("\n")}
        with closing(sqlite3.connect(path)) as after:
            assert after.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert told <= {key for (key,) in after.execute("SELECT key FROM note")}
    assert len(told) >= 3 * acknowledged
