import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.database import Database
from ovsdriver.errors import UnavailableError


async def make(path: Path, rows: int = 0) -> None:
    database = await Database.open(path)

    def fill(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT INTO note VALUES (?, ?)", ((f"key {n:06}", "x" * 100) for n in range(rows))
        )

    await database.write(fill)
    await database.close()


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def refusal(path: Path) -> str:
    with pytest.raises(UnavailableError) as refused:
        await Database.open(path, busy_timeout_s=0.05)
    return str(refused.value)


async def test_the_directory_and_the_file_are_for_their_owner_only(tmp_path: Path):
    path = tmp_path / "a" / "state.db"
    database = await Database.open(path)
    await database.write(lambda c: c.execute("INSERT INTO note VALUES ('a', '')").rowcount)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    await database.close()


async def test_a_commit_reaches_the_disk_before_it_returns(tmp_path: Path):
    database = await Database.open(tmp_path / "state.db")

    def settings(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    full = 2
    assert await database.read(settings) == ["wal", full, 1]
    await database.close()


async def test_a_closed_store_is_one_file(tmp_path: Path):
    await make(tmp_path / "state.db", rows=10)
    assert names(tmp_path) == ["state.db"]


def overwrite_header(path: Path) -> None:
    path.write_bytes(b"not a database at all\n" * 500)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(20_000))


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(overwrite_header, "is corrupt", id="not-a-database"),
        pytest.param(cut, "is corrupt", id="cut"),
        pytest.param(scribble, "is corrupt", id="scribbled-over"),
        pytest.param(empty, "is empty, so it lost its contents", id="emptied"),
    ],
)
async def test_a_damaged_store_is_refused_and_kept(
    tmp_path: Path, damage: Callable[[Path], None], words: str
):
    path = tmp_path / "state.db"
    await make(path, rows=2000)
    damage(path)
    before = path.read_bytes()
    text = await refusal(path)
    assert str(path) in text
    assert words in text
    assert "it was kept" in text
    assert "Restore it from a backup" in text
    assert path.read_bytes() == before


async def test_a_database_of_another_program_is_refused_and_kept(tmp_path: Path):
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (a)")
        other.commit()
    assert "of another program; it was kept" in await refusal(path)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


async def test_a_store_of_a_newer_ovsnet_is_refused_and_kept(tmp_path: Path):
    path = tmp_path / "state.db"
    await make(path)
    newest = len(storefile.migrations())
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {newest + 1}")
    assert f"schema {newest + 1}, this one knows {newest}" in await refusal(path)


async def test_a_journal_without_its_store_is_not_replayed_into_a_new_one(tmp_path: Path):
    path = tmp_path / "state.db"
    rest = tmp_path / "state.db-wal"
    rest.write_bytes(b"frames")
    assert f"its journal {rest} is there" in await refusal(path)
    assert names(tmp_path) == ["state.db-wal"]


async def test_a_start_that_was_cut_short_leaves_nothing_in_the_way(tmp_path: Path):
    for name in ("state.db.new", "state.db.new-wal", "state.db.new-shm"):
        (tmp_path / name).write_bytes(b"half")
    await make(tmp_path / "state.db", rows=1)
    assert names(tmp_path) == ["state.db"]


async def test_a_store_locked_by_another_process_is_refused_with_its_name(tmp_path: Path):
    path = tmp_path / "state.db"
    await make(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert "locked by another process" in await refusal(path)
    await make(path)


async def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "state").write_text("")
    text = await refusal(tmp_path / "state" / "state.db")
    assert "cannot be used" in text
    assert str(tmp_path / "state") in text


OPENER = """
import os, sys
from pathlib import Path
from ovsdriver.adapters.store import storefile
if os.geteuid() == 0:  # whom no permission stops
    os.setuid(65534)
path = Path(sys.argv[1])
try:
    storefile.connect(path, busy_timeout_s=0)
except storefile.UnavailableError as error:
    print(error)
except Exception as error:
    print(storefile.unavailable(path, error))
"""


@pytest.mark.parametrize("there", [True, False], ids=["store-there", "no-store-yet"])
def test_a_read_only_directory_is_refused(there: bool):
    with tempfile.TemporaryDirectory(prefix="store-") as name:
        folder = Path(name)
        path = folder / "state.db"
        if there:
            asyncio.run(make(path, rows=1))
            path.chmod(0o444)
        folder.chmod(0o555)
        try:
            done = subprocess.run(
                [sys.executable, "-c", OPENER, path],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            folder.chmod(0o755)
    assert done.stderr == ""
    assert str(folder) in done.stdout
    assert "write" in done.stdout


def test_migrations_are_numbered_without_a_gap():
    folder = storefile.resources.files("ovsdriver.adapters.store") / "schema"
    numbers = sorted(each.name.split("_")[0] for each in folder.iterdir())
    assert numbers == [f"{n:04}" for n in range(1, len(numbers) + 1)]


@pytest.fixture
def connection(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "m.db", isolation_level=None)) as opened:
        yield opened


def test_migrations_run_once_each(connection: sqlite3.Connection):
    steps = ["CREATE TABLE a (x)", "INSERT INTO a VALUES (1)"]
    storefile.migrate(connection, steps)
    storefile.migrate(connection, steps)
    assert connection.execute("SELECT x FROM a").fetchall() == [(1,)]
    storefile.migrate(connection, [*steps, "INSERT INTO a VALUES (3)"])
    assert connection.execute("SELECT x FROM a").fetchall() == [(1,), (3,)]


def test_a_migration_that_fails_leaves_the_step_before_it(connection: sqlite3.Connection):
    with pytest.raises(sqlite3.OperationalError):
        storefile.migrate(connection, ["CREATE TABLE a (x)", "CREATE TABLE b (x); NONSENSE"])
    assert not connection.in_transaction
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("a",)]
