"""A backup in the store's place: whole, whatever was there, and whenever it is cut short."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.tools.backup import backup
from ovsdriver.adapters.store.tools.restore import UNKNOWN_EPOCHS, restore
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

NOW = 1_790_000_000.0
KEPT = "state.db.before-restore-20260921T141320Z"


class Case:
    """A store and a backup of it, which the store has grown beyond since."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "state"
        self.store = used(self.folder / "state.db")
        self.backup = backup(self.store, home / "backup.db").path
        self.saved = rows(self.backup)
        with changed(self.store) as connection:
            connection.execute("UPDATE ipam_epoch SET value = 7")
            connection.execute("INSERT INTO note VALUES ('since', '')")
        self.grown = rows(self.store)

    def restore(self):
        return restore(self.backup, self.store, now=NOW)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def opens(path: Path) -> None:
    storefile.connect(path, busy_timeout_s=0).close()


def test_the_backup_takes_the_stores_place_and_the_store_is_kept(case: Case):
    before = case.backup.read_bytes()
    done = case.restore()
    assert rows(case.store) == case.saved
    assert done.kept == (case.folder / KEPT,)
    assert rows(done.kept[0]) == case.grown
    assert names(case.folder) == ["state.db", KEPT]
    assert stat.S_IMODE(case.store.stat().st_mode) == 0o600
    assert (done.damage, done.faults) == ("", ())
    assert case.backup.read_bytes() == before
    opens(case.store)


def test_no_serial_or_pool_id_of_either_store_can_come_again(case: Case):
    assert case.restore().epoch == epoch(case.store) == 8
    with changed(case.store) as connection:
        connection.execute("UPDATE ipam_epoch SET value = 0")
    assert case.restore().epoch == 2


def test_restoring_again_keeps_both_under_names_of_their_own(case: Case):
    case.restore()
    again = case.restore()
    assert again.kept == (case.folder / f"{KEPT}-2",)
    assert rows(case.folder / KEPT) == case.grown
    assert rows(again.kept[0]) == rows(case.store) == case.saved


def test_what_was_kept_can_be_restored_in_turn(case: Case):
    kept = case.restore().kept[0]
    restore(kept, case.store, now=NOW + 1)
    assert rows(case.store) == case.grown


def test_a_backup_of_the_first_release_is_brought_up_to_date(case: Case, tmp_path: Path):
    old = tmp_path / "old.db"
    shutil.copyfile(FIRST_RELEASE, old)
    done = restore(old, case.store, now=NOW)
    assert done.schema == 2
    assert old.read_bytes() == FIRST_RELEASE.read_bytes()
    with closing(sqlite3.connect(case.store)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (
            len(storefile.migrations()),
        )
    now, then = rows(case.store), case.saved
    del now["ipam_reservation"], then["ipam_reservation"]
    assert now == then


def test_what_stands_in_the_write_ahead_log_is_kept_with_the_store(case: Case):
    leave_a_log(case.store, "unfolded")
    assert "state.db-wal" in names(case.folder)
    kept = case.restore().kept
    assert names(case.folder) == ["state.db", KEPT]
    assert "unfolded" in {row[0] for row in rows(kept[0])["note"]}
    assert rows(case.store) == case.saved


def leave_a_log(store: Path, note: str) -> None:
    """Leave what ``kill -9`` leaves: commits in the log."""
    script = (
        "import os, sys; from pathlib import Path; from ovsdriver.adapters.store import storefile; "
        "c = storefile.connect(Path(sys.argv[1]), busy_timeout_s=0); "
        "c.execute('INSERT INTO note VALUES (?, ?)', (sys.argv[2], '')); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", script, store, note], timeout=60, check=False)
    assert done.returncode == 9


def missing(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    os.truncate(path, 0)


def junk(path: Path) -> None:
    path.write_bytes(b"not a database at all\n" * 500)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def foreign(path: Path) -> None:
    with changed(path) as connection:
        connection.execute("PRAGMA application_id = 1")


def lost_epoch(path: Path) -> None:
    with changed(path) as connection:
        connection.execute("DELETE FROM ipam_epoch")


@pytest.mark.parametrize("log", [False, True], ids=["without-log", "with-log"])
@pytest.mark.parametrize("harm", [empty, junk, cut, foreign, lost_epoch])
def test_a_store_that_cannot_be_read_is_kept_as_it_is(
    case: Case, harm: Callable[[Path], None], log: bool
):
    harm(case.store)
    if log:
        (case.folder / "state.db-wal").write_bytes(b"frames")
    before = {each: (case.folder / each).read_bytes() for each in names(case.folder)}
    done = case.restore()
    assert done.damage
    assert done.epoch == epoch(case.backup) + UNKNOWN_EPOCHS
    assert rows(case.store) == case.saved
    kept = {each.name.replace(KEPT, "state.db"): each for each in done.kept}
    if harm in (empty, junk):
        assert {name: path.read_bytes() for name, path in kept.items()} == before
    else:
        assert kept["state.db"].exists()
    opens(case.store)
    assert rows(case.store) == case.saved


@pytest.mark.parametrize("log", [False, True], ids=["without-log", "with-log"])
def test_a_store_that_is_gone_is_restored(case: Case, log: bool):
    case.store.unlink()
    if log:
        (case.folder / "state.db-wal").write_bytes(b"frames")
    done = case.restore()
    assert [each.name for each in done.kept] == ([f"{KEPT}-wal"] if log else [])
    assert done.damage == ""
    assert done.epoch == epoch(case.backup) + UNKNOWN_EPOCHS
    opens(case.store)
    assert rows(case.store) == case.saved


def test_on_a_new_host_the_directory_is_made_by_whoever_locks_it(case: Case, tmp_path: Path):
    (tmp_path / "new").mkdir()
    assert restore(case.backup, tmp_path / "new" / "state.db", now=NOW).kept == ()
    assert rows(tmp_path / "new" / "state.db") == case.saved


def test_a_store_behind_a_link_is_replaced_where_it_is(case: Case, tmp_path: Path):
    leave_a_log(case.store, "unfolded")
    link = tmp_path / "linked.db"
    link.symlink_to(case.store)
    done = restore(case.backup, link, now=NOW)
    assert link.is_symlink()
    assert done.kept == (case.folder / KEPT,)
    assert rows(case.store) == case.saved
    assert names(case.folder) == ["state.db", KEPT]


def test_a_disk_that_fails_at_the_last_moment_leaves_the_store(
    case: Case, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "hardlink_to", fail)
    with pytest.raises(UnavailableError, match="Input/output error"):
        case.restore()
    assert rows(case.store) == case.grown
    assert names(case.folder) == ["state.db"]


def test_a_backup_that_cannot_be_brought_up_to_date_changes_nothing(case: Case, tmp_path: Path):
    old = tmp_path / "old.db"
    shutil.copyfile(FIRST_RELEASE, old)
    with changed(old) as connection:
        connection.execute("CREATE TABLE ipam_reservation (in_the_way TEXT)")
    with pytest.raises(UnavailableError, match="already exists"):
        restore(old, case.store, now=NOW)
    assert rows(case.store) == case.grown
    assert names(case.folder) == ["state.db"]


def of_nothing(path: Path) -> None:
    path.unlink()


def newer(path: Path) -> None:
    with changed(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(storefile.migrations()) + 1}")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (of_nothing, "there is no file"),
        (empty, "is empty"),
        (junk, "cannot be read"),
        (cut, "nothing was restored"),
        (foreign, "is not a backup of ovsnet's store"),
        (newer, "was written by a newer ovsnet"),
        (break_an_index, "is damaged"),
        (lost_epoch, "does not know its epoch"),
    ],
)
def test_what_is_no_backup_changes_nothing(case: Case, harm: Callable[[Path], None], words: str):
    harm(case.backup)
    with pytest.raises(UnavailableError, match=words):
        case.restore()
    assert rows(case.store) == case.grown
    assert names(case.folder) == ["state.db"]
    assert epoch(case.store) == 7


def test_the_store_is_no_backup_of_itself(case: Case):
    with pytest.raises(UnavailableError, match="is the store itself"):
        restore(case.store, case.store, now=NOW)
    assert rows(case.store) == case.grown


def test_while_somebody_has_the_store_open_nothing_is_restored(
    case: Case, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ovsdriver.adapters.store.tools.snapshot.BUSY_S", 0.05)
    opens(case.store)
    with closing(storefile.connect(case.store, busy_timeout_s=0)) as other:
        other.execute("SELECT count(*) FROM note").fetchone()
        with pytest.raises(ConflictError, match=r"another process has .* open"):
            case.restore()
        assert rows(case.store) == case.grown
    case.restore()


def test_what_does_not_fit_together_in_the_backup_is_told(case: Case):
    with changed(case.backup) as connection:
        connection.execute(
            "UPDATE ipam_pool SET subnet = '10.20.0.0/29', range = NULL WHERE key = 1"
        )
    done = case.restore()
    assert "a held address 10.20.0.128 lies outside" in " ".join(each.text for each in done.faults)


KILLER = """
import os, sys, shutil
from pathlib import Path
from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.tools import restore as module

HARMLESS = {"_prepare", "_schema", "_read", "_free_name", "_beside", "_sync", "_writing"}
template, work, backup = map(Path, sys.argv[1:])

def killed_at(number):
    left = number
    def trace(frame, event, argument):
        if frame.f_code.co_filename != module.__file__ or frame.f_code.co_name in HARMLESS:
            return None
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                os._exit(9)
        return trace
    sys.settrace(trace)
    module.restore(backup, work / "state.db", now=1_790_000_000.0)
    os._exit(0)

number = 0
while True:
    number += 1
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(template, work)
    child = os.fork()
    if not child:
        killed_at(number)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == 0:
        break
    try:
        connection = storefile.connect(work / "state.db", busy_timeout_s=0)
        found = {key for (key,) in connection.execute("SELECT key FROM note")}
        connection.close()
        outcome = "old" if "since" in found else "new"
    except storefile.UnavailableError as error:
        outcome = "refused"
    except storefile.sqlite3.Error:
        outcome = "refused"
    if outcome == "new":
        assert not (work / "state.db.restoring").exists()
    module.restore(backup, work / "state.db", now=1_790_000_001.0)
    connection = storefile.connect(work / "state.db", busy_timeout_s=0)
    again = {key for (key,) in connection.execute("SELECT key FROM note")}
    connection.close()
    print(outcome, len(again), flush=True)
"""


def kills(case: Case, tmp_path: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", KILLER, case.folder, tmp_path / "work", case.backup],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert {again for _, again in lines} == {"1"}  # the backup's only note, each time
    return [outcome for outcome, _ in lines]


def test_killed_at_any_line_there_is_the_old_store_or_the_new_one(case: Case, tmp_path: Path):
    leave_a_log(case.store, "unfolded")
    outcomes = kills(case, tmp_path)
    assert len(outcomes) > 30
    turn = outcomes.index("new")
    assert set(outcomes[:turn]) == {"old"}
    assert set(outcomes[turn:]) == {"new"}


def test_killed_at_any_line_a_damaged_store_is_there_or_the_new_one_or_none_starts(
    case: Case, tmp_path: Path
):
    junk(case.store)
    (case.folder / "state.db-wal").write_bytes(b"frames")
    outcomes = kills(case, tmp_path)
    turn = outcomes.index("new")
    assert set(outcomes[:turn]) == {"refused"}
    assert set(outcomes[turn:]) == {"new"}
