"""The store's file: how it is made, checked and brought up to date, and what its errors mean.

A file that is there is never replaced. A new one is made whole under another name and then
renamed, so an empty ``state.db`` is always one that lost its contents.
"""

import errno
import os
import sqlite3
from contextlib import ExitStack
from importlib import resources
from pathlib import Path

from ovsdriver.adapters.store.newfile import beside, discard, sync
from ovsdriver.errors import UnavailableError

NAME = "state.db"
"""In the state directory."""

MEMORY = Path(":memory:")
"""In the place of a path: begins with nothing, and ends with its connection."""

APPLICATION_ID = 0x6F76736E
"""``ovsn``, in the file's header: tells our file from any other SQLite database."""

CHECKED_BYTES = 32 << 20
"""Files up to this size are checked whole at every start.

That is about 600,000 leases and 0.1 s. A larger one is read whole a moment later by who loads the
leases, which finds the same damage, except in indexes.
"""

_WHAT_TO_DO = "Restore it from a backup, or move it away to start with no networks"


def connect(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """Return a connection to ``path``, made if it is not there, with its tables up to date.

    Raises:
        UnavailableError: with a sentence about the file.
        sqlite3.Error, OSError: for :func:`unavailable` to translate.
    """
    if path == MEMORY:
        connection = _opened(path, busy_timeout_s=busy_timeout_s)
        migrate(connection, migrations())
        return connection
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        _make(path)
    elif path.stat().st_size == 0:
        raise UnavailableError(
            f"the store {path} is empty, so it lost its contents; it was kept. {_WHAT_TO_DO}"
        )
    connection = _opened(path, busy_timeout_s=busy_timeout_s)
    try:
        _check(path, connection)
        migrate(connection, migrations())
    except BaseException:
        connection.close()
        raise
    return connection


def identify(path: Path, connection: sqlite3.Connection) -> int:
    """Return the schema's number in a file of ours; UnavailableError if it is none we can read."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise UnavailableError(
            f"the store {path} is a database of another program; it was kept. "
            "Move it away, or give ovsnet another --state-dir"
        )
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations()):
        raise UnavailableError(
            f"the store {path} was written by a newer ovsnet (schema {version}, this one knows "
            f"{len(migrations())}); it was kept. Install the newer ovsnet again"
        )
    return version


def migrations() -> list[str]:
    """Return the SQL of every step of the schema; number 1 is the first."""
    folder = resources.files("ovsdriver.adapters.store") / "schema"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name
    )
    return [file.read_text(encoding="utf-8") for file in files]


def migrate(connection: sqlite3.Connection, steps: list[str]) -> None:
    """Run the steps that the file has not seen, each in one transaction with its number."""
    (done,) = connection.execute("PRAGMA user_version").fetchone()
    for number, step in enumerate(steps[done:], start=done + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{step}\n;PRAGMA user_version = {number};\nCOMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.rollback()
            raise


def unavailable(path: Path, error: sqlite3.Error | OSError) -> UnavailableError:
    """Return the sentence for what SQLite or the file system said."""
    return UnavailableError(f"the store {path} {_sentence(path, error)}")


def _sentence(path: Path, error: sqlite3.Error | OSError) -> str:
    full = f"cannot be written, the disk is full; free some space on {path.parent}"
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return full
        return (
            f"cannot be used: {error.strerror or error} ({error.filename or path}); "
            f"ovsnet needs to write in {path.parent}"
        )
    locked = (
        "is locked by another process; nothing was changed. Find it with "
        f"`fuser {path}` and end it, then try again"
    )
    closed = (
        f"cannot be written ({error}); make {path.parent} and what is in it writable "
        "for the user that runs ovsnet, then try again"
    )
    corrupt = f"is corrupt ({error}); it was kept. {_WHAT_TO_DO}"
    # Extended result codes keep the primary one in their low byte (sqlite.org/rescode.html).
    return {
        sqlite3.SQLITE_BUSY: locked,
        sqlite3.SQLITE_LOCKED: locked,
        sqlite3.SQLITE_READONLY: closed,
        sqlite3.SQLITE_PERM: closed,
        sqlite3.SQLITE_CANTOPEN: closed,
        sqlite3.SQLITE_FULL: full,
        sqlite3.SQLITE_CORRUPT: corrupt,
        sqlite3.SQLITE_NOTADB: corrupt,
        sqlite3.SQLITE_IOERR: f"had an input/output error ({error}); look at the disk (`dmesg`)",
    }.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, f"failed: {error}; nothing was changed")


def _make(path: Path) -> None:
    for suffix in ("-wal", "-journal"):
        rest = beside(path, suffix)
        if rest.exists():
            # SQLite would replay it into the new file.
            raise UnavailableError(
                f"the store {path} is gone but its journal {rest} is there; both belong together. "
                "Put the store back, or move the journal away to start with no networks"
            )
    new = beside(path, ".new")
    with ExitStack() as undo:
        discard(new)  # of a start that was cut short, never used
        undo.callback(discard, new)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = _opened(new, busy_timeout_s=0)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            migrate(connection, migrations())
        finally:
            connection.close()  # the last one: moves the write-ahead log into the file
        new.rename(path)
        undo.pop_all()
    sync(path.parent)


def _opened(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    # SQLite gives -wal and -shm the mode of the main file.
    connection = sqlite3.connect(
        path, timeout=busy_timeout_s, isolation_level=None, cached_statements=256
    )
    try:
        for setting in (
            "journal_mode = WAL",
            # NORMAL may lose the last commits at a power cut: an address would be given twice.
            "synchronous = FULL",
            "foreign_keys = ON",
            # Savepoints copy the pages they change; not through a file.
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {setting}")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(path: Path, connection: sqlite3.Connection) -> None:
    identify(path, connection)
    if path.stat().st_size <= CHECKED_BYTES:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise UnavailableError(
                f"the store {path} is corrupt ({found}); it was kept. {_WHAT_TO_DO}"
            )
