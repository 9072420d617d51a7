"""The store as it is at one moment, read beside whoever serves from it.

One read transaction on a connection of its own: in WAL mode a reader blocks no commit and sees
none that comes after it began. For processes other than the daemon, so they work while it serves,
while it is degraded and while it does not run.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.newfile import beside
from ovsdriver.errors import UnavailableError

BUSY_S = 5.0
"""How long the begin waits for a process that recovers or closes the file."""


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection to a file of ours, in a read transaction; its schema may be an older one.

    Raises:
        UnavailableError: it is not there, cannot be read, is another program's or a newer
            ovsnet's.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise UnavailableError(
            f"there is no store {path}; ovsnet makes it at its first start. If it is elsewhere, "
            "say where with --state-dir"
        ) from None
    except PermissionError:
        raise _forbidden(path) from None
    except OSError as error:
        raise storefile.unavailable(path, error) from error
    if not os.access(path, os.R_OK):
        raise _forbidden(path)
    if size == 0:
        # SQLite would take it for a database without tables, and remove the journal beside it.
        raise UnavailableError(f"{path} is empty, so it holds nothing; it lost its contents")
    try:
        with read_transaction(path) as connection:
            storefile.identify(path, connection)
            yield connection
    except sqlite3.Error as error:
        raise storefile.unavailable(path, error) from error


@contextmanager
def opened(path: Path, options: str = "mode=rw") -> Iterator[sqlite3.Connection]:
    """Give a connection to a file, which is never made, without transactions but those asked for.

    Raises:
        sqlite3.Error: it is not there or cannot be used.
    """
    address = f"file:{quote(str(path.absolute()))}?{options}"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None)
    with closing(connection):
        yield connection


@contextmanager
def read_transaction(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection to any SQLite file that is there and not empty, in a read transaction.

    Raises:
        sqlite3.Error: it is no database, damaged or locked.
    """
    # To read a file in WAL mode SQLite writes beside it; where that cannot be, on a disk that went
    # read-only, nobody else writes either.
    options = "mode=rw"
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        options = "mode=ro"
        if not beside(path, "-wal").exists():
            options += "&immutable=1"
    with opened(path, options) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # begins it
        yield connection


@contextmanager
def contents(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a store to read from, with the tables that this ovsnet knows.

    What an older ovsnet wrote is copied into memory and brought up to date there: only the
    daemon changes the file.

    Raises:
        UnavailableError: as of :func:`snapshot`.
    """
    with snapshot(path) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == len(storefile.migrations()):
            yield connection
            return
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as upgraded:
            connection.backup(upgraded)
            storefile.migrate(upgraded, storefile.migrations())
            yield upgraded


def _forbidden(path: Path) -> UnavailableError:
    return UnavailableError(f"no permission to read {path}; try it as root: sudo ovsnet …")
