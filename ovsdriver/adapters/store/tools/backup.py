"""One file with everything that the store holds at one moment."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ovsdriver.adapters.store.newfile import new_file, unwritten
from ovsdriver.adapters.store.tools.inspection import counts, damage
from ovsdriver.adapters.store.tools.snapshot import opened, snapshot
from ovsdriver.errors import UnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What was written."""

    path: Path
    size: int
    """Bytes."""
    pools: int
    leases: int
    networks: int
    endpoints: int


def backup(store: Path, target: Path) -> Backup:
    """Copy the store into a new file, checked, for its owner only; whoever serves goes on.

    Raises:
        ConflictError: ``target`` is there.
        UnavailableError: the store cannot be read or is damaged, or ``target`` cannot be written;
            nothing is left of it then.
    """
    with snapshot(store) as source, new_file(target) as made:
        copy(source, made, target)
        with opened(made) as copied:
            wrong = next(damage(copied, most=1), "")
            if wrong:
                raise UnavailableError(
                    f"{target} was not written: the store {store} is corrupt ({wrong}). `ovsnet "
                    "ipam restore` takes an older backup; for repair, copy the store's files by "
                    "hand while ovsnet does not run"
                )
            found = counts(copied)
        size = made.stat().st_size
    return Backup(
        path=target,
        size=size,
        pools=found.pools,
        leases=found.leases,
        networks=found.networks,
        endpoints=found.endpoints,
    )


def copy(source: sqlite3.Connection, made: Path, target: Path) -> None:
    """Copy a database in a read transaction into the empty file ``made``, without a journal.

    Raises:
        UnavailableError: it cannot be written; the sentence is about ``target``.
        sqlite3.Error: the source cannot be read.
    """
    try:
        with opened(made) as destination:
            # The caller syncs the file before it means anything.
            destination.execute("PRAGMA synchronous = OFF")
            source.backup(destination)
            # The copy says that it has a write-ahead log, as its source does: not a single file.
            destination.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        why = (
            f"the disk is full; free some space on {target.parent}"
            if code == sqlite3.SQLITE_FULL
            else f"{error}; look at the disks (`dmesg`)"
        )
        raise unwritten(target, why) from error
