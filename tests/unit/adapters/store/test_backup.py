"""Backups: whole, beside whoever writes, and nothing if something is in the way."""

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ovsdriver.adapters.store import newfile, storefile
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.tools.backup import backup
from ovsdriver.adapters.store.tools.snapshot import contents, snapshot
from ovsdriver.errors import ConflictError, UnavailableError
from tests.unit.adapters.store.hosts import (
    FIRST_RELEASE,
    break_an_index,
    changed,
    epoch,
    names,
    rows,
    used,
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return used(tmp_path / "state" / "state.db")


def test_a_backup_holds_everything_in_one_file_for_its_owner(store: Path, tmp_path: Path):
    made = backup(store, tmp_path / "copy.db")
    assert (made.pools, made.leases, made.networks, made.endpoints) == (3, 9, 1, 1)
    assert rows(made.path) == rows(store)
    assert epoch(made.path) == epoch(store)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert made.size == made.path.stat().st_size
    assert names(tmp_path) == ["copy.db", "state"]
    with closing(sqlite3.connect(made.path)) as copied:
        assert copied.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_a_backup_has_what_was_committed_before_it_and_holds_up_no_commit(
    store: Path, tmp_path: Path
):
    database = await Database.open(store)
    await database.write(lambda c: c.execute("INSERT INTO note VALUES ('before', '')").rowcount)
    with snapshot(store) as reading:
        reading.execute("SELECT count(*) FROM note").fetchone()
        await database.write(lambda c: c.execute("INSERT INTO note VALUES ('after', '')").rowcount)
        seen = {key for (key,) in reading.execute("SELECT key FROM note")}
    backup(store, tmp_path / "copy.db")
    await database.close()
    assert "before" in seen
    assert "after" not in seen
    notes = {row[0] for row in rows(tmp_path / "copy.db")["note"]}
    assert {"before", "after"} <= notes


def test_a_store_of_an_older_release_is_read_without_being_changed(tmp_path: Path):
    path = tmp_path / "state.db"
    path.write_bytes(FIRST_RELEASE.read_bytes())
    with contents(path) as connection:
        assert connection.execute("SELECT count(*) FROM ipam_reservation").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM ipam_lease").fetchone() == (9,)
    assert path.read_bytes() == FIRST_RELEASE.read_bytes()


def test_a_backup_overwrites_nothing(store: Path, tmp_path: Path):
    (tmp_path / "copy.db").write_text("precious")
    (tmp_path / "link.db").symlink_to("nowhere")
    for name in ("copy.db", "link.db"):
        with pytest.raises(ConflictError, match=f"{name} is there already and was not changed"):
            backup(store, tmp_path / name)
    assert (tmp_path / "copy.db").read_text() == "precious"
    assert names(tmp_path) == ["copy.db", "link.db", "state"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path):
    target = tmp_path / "new"
    writing = newfile.new_file(target)
    writing.__enter__().write_text("ours")
    target.write_text("theirs")
    with pytest.raises(ConflictError):
        writing.__exit__(None, None, None)
    assert target.read_text() == "theirs"
    assert names(tmp_path) == ["new"]


def test_without_hard_links_the_file_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with newfile.new_file(tmp_path / "new") as made:
        made.write_text("ours")
    assert names(tmp_path) == ["new"]
    writing = newfile.new_file(tmp_path / "other")
    writing.__enter__()
    (tmp_path / "other").write_text("theirs")
    with pytest.raises(ConflictError):
        writing.__exit__(None, None, None)
    assert (tmp_path / "other").read_text() == "theirs"


def test_a_folder_that_is_not_there_is_a_sentence(store: Path, tmp_path: Path):
    with pytest.raises(UnavailableError, match=r"was not written: No such file.*a directory"):
        backup(store, tmp_path / "nowhere" / "copy.db")


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (None, "there is no store"),
        (b"", "is empty, so it holds nothing"),
        (b"not a database at all\n" * 500, "is corrupt"),
    ],
    ids=["missing", "empty", "junk"],
)
def test_what_is_no_store_is_not_backed_up(tmp_path: Path, there: bytes | None, words: str):
    path = tmp_path / "state.db"
    if there is not None:
        path.write_bytes(there)
    before = names(tmp_path)
    with pytest.raises(UnavailableError, match=words):
        backup(path, tmp_path / "copy.db")
    assert names(tmp_path) == before


def test_another_programs_database_and_a_newer_store_are_refused(store: Path, tmp_path: Path):
    with changed(store) as connection:
        connection.execute(f"PRAGMA user_version = {len(storefile.migrations()) + 1}")
    with pytest.raises(UnavailableError, match="newer ovsnet"):
        backup(store, tmp_path / "copy.db")
    with changed(store) as connection:
        connection.execute("PRAGMA application_id = 1")
    with pytest.raises(UnavailableError, match="of another program"):
        backup(store, tmp_path / "copy.db")


def test_a_damaged_store_gives_no_backup_that_looks_like_one(store: Path, tmp_path: Path):
    break_an_index(store)
    with pytest.raises(UnavailableError, match="is corrupt"):
        backup(store, tmp_path / "copy.db")
    assert names(tmp_path) == ["state"]


SMALL_FILES = """
import resource, signal, sys
from pathlib import Path
from ovsdriver.adapters.store.tools.backup import backup
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40960, 40960))
try:
    backup(Path(sys.argv[1]), Path(sys.argv[2]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_disk_that_takes_no_more_is_a_sentence_and_leaves_nothing(store: Path, tmp_path: Path):
    # The next best thing to a small disk that needs no root.
    done = subprocess.run(
        [sys.executable, "-c", SMALL_FILES, store, tmp_path / "copy.db"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith(f"UnavailableError {tmp_path}/copy.db was not written:")
    assert names(tmp_path) == ["state"]


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.tools.snapshot import contents
steps = storefile.migrations()
storefile.migrations = lambda: steps  # the program's own folder may be one for root alone
if os.geteuid() == 0:
    os.setuid(65534)
try:
    with contents(Path(sys.argv[1])) as connection:
        print(connection.execute("SELECT count(*) FROM ipam_lease").fetchone()[0])
except Exception as error:
    print(error)
"""


def unprivileged(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A store that other users may come near."""
    with tempfile.TemporaryDirectory(prefix="store-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield used(folder / "state" / "state.db")
        (folder / "state").chmod(0o755)


@pytest.mark.parametrize("folder", [0o755, 0o700])
def test_who_may_not_read_the_store_is_told_to_be_root(reachable: Path, folder: int):
    reachable.chmod(0o000)
    reachable.parent.chmod(folder)
    assert unprivileged(reachable).startswith(f"no permission to read {reachable}; try it as root")


def test_a_store_on_a_read_only_disk_can_be_read(reachable: Path):
    reachable.chmod(0o444)
    reachable.parent.chmod(0o555)
    assert unprivileged(reachable) == "9"
