"""A backup in the place of the store, in one step, while no process runs.

The new store is made whole beside the old one, which is kept under another name, and then renamed
over it. Wherever that is cut short, by ``kill -9`` or a power cut, there is the old store or the
new one, each complete, or, where the old one was damaged, none that a process would start with;
restoring again goes on from there.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.newfile import beside, discard, sync
from ovsdriver.adapters.store.tools.backup import copy
from ovsdriver.adapters.store.tools.inspection import Fault, damage, epoch_of, faults
from ovsdriver.adapters.store.tools.snapshot import opened, read_transaction
from ovsdriver.errors import ConflictError, UnavailableError

UNKNOWN_EPOCHS = 10_000
"""How many starts of a store that cannot be read are assumed, beyond those of the backup.

Docker keeps ids of pools, which begin with their store's epoch: a number that was used in the
lost store must not come again for another pool.
"""

_JOURNALS = ("-wal", "-journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was done."""

    store: Path
    kept: tuple[Path, ...]
    """The old store's files, under their new names."""
    damage: str
    """Why the old store could not be read; empty: it could, or there was none."""
    epoch: int
    schema: int
    """Of the backup; it was brought up to date."""
    faults: tuple[Fault, ...]
    """What does not fit together in the backup."""


def restore(backup: Path, store: Path, *, now: float) -> Restored:
    """Put the contents of ``backup`` in the place of ``store``.

    Args:
        backup: what :func:`~ovsdriver.adapters.store.tools.backup.backup` wrote, or a copy of a
            store that was kept; it is not changed.
        store: need not be there, nor be readable. Its directory's lock is the caller's.
        now: seconds since the epoch, for the name of what is kept.

    Raises:
        UnavailableError: the backup is none, or the disk does not take it; nothing was changed.
        ConflictError: another process has the store open; nothing was changed.
    """
    store = store.resolve()  # SQLite keeps the journal beside the file, not beside a link to it
    new = beside(store, ".restoring")
    try:
        with ExitStack() as undo:
            _remove(new)  # of a restore that was cut short
            undo.callback(_remove, new)
            schema = _prepare(backup, store, new)
            with _old(store) as old:
                epoch = _raise_epoch(new, None if old.damage else old.epoch)
                found = _look(new)
                kept = _exchange(store, new, now)
                undo.pop_all()
    except (OSError, sqlite3.Error) as error:
        raise storefile.unavailable(store, error) from error
    return Restored(
        store=store,
        kept=kept,
        damage="" if old.missing else old.damage,
        epoch=epoch,
        schema=schema,
        faults=found,
    )


def _prepare(backup: Path, store: Path, new: Path) -> int:
    """Write the backup into ``new``, with tables that are up to date; return its own schema."""
    if not backup.is_file():
        raise UnavailableError(f"nothing was restored: there is no file {backup}")
    if store.exists() and backup.samefile(store):
        raise UnavailableError(f"nothing was restored: {backup} is the store itself")
    if backup.stat().st_size == 0:
        raise UnavailableError(f"nothing was restored: {backup} is empty")
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        with read_transaction(backup) as source:
            schema = _schema(backup, source)
            copy(source, new, store)
    except sqlite3.Error as error:
        raise UnavailableError(
            f"nothing was restored: {backup} cannot be read ({error})"
        ) from error
    with _writing(new) as connection:
        wrong = next(damage(connection, most=1), "")
        if wrong:
            raise UnavailableError(
                f"nothing was restored: the backup {backup} is damaged ({wrong}); take an older one"
            )
        storefile.migrate(connection, storefile.migrations())
        if epoch_of(connection) is None:
            raise UnavailableError(f"nothing was restored: {backup} does not know its epoch")
    return schema


def _schema(backup: Path, source: sqlite3.Connection) -> int:
    (application,) = source.execute("PRAGMA application_id").fetchone()
    (version,) = source.execute("PRAGMA user_version").fetchone()
    if application != storefile.APPLICATION_ID or version < 1:
        raise UnavailableError(f"nothing was restored: {backup} is not a backup of ovsnet's store")
    known = len(storefile.migrations())
    if version > known:
        raise UnavailableError(
            f"nothing was restored: {backup} was written by a newer ovsnet (schema {version}, "
            f"this one knows {known}); install that one first"
        )
    return int(version)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Old:
    """The store that is there."""

    epoch: int = 0
    damage: str = ""
    """Why it cannot be read; empty: it is one file, and locked for us."""
    missing: bool = False


@contextmanager
def _old(store: Path) -> Iterator[_Old]:
    """Look at the old store, and keep others from it where that is possible."""
    if not store.exists():
        yield _Old(damage="it is not there", missing=True)
    elif store.stat().st_size == 0:
        # SQLite would remove the journal beside it, which may be all that is left.
        yield _Old(damage="it is empty")
    else:
        with ExitStack() as stack:
            try:
                old = _read(store)
                if not old.damage:
                    stack.enter_context(_folded(store))
            except sqlite3.Error as error:
                stack.close()
                old = _unreadable(store, error)
            yield old


def _read(store: Path) -> _Old:
    # Only to read: who closes a file that can be written may remove the journal beside it.
    with opened(store, "mode=ro") as connection:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != storefile.APPLICATION_ID:
            return _Old(damage="it is a database of another program")
        epoch = epoch_of(connection)
        return _Old(damage="it does not know its epoch") if epoch is None else _Old(epoch=epoch)


@contextmanager
def _folded(store: Path) -> Iterator[None]:
    """Bring the write-ahead log into the file, and keep the file locked for us."""
    with opened(store) as connection:
        # Refused while anybody else has the file open. That matters: whoever closes it last would
        # fold the *new* store's log into the *old* file, because a log is found by its name.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        yield


def _unreadable(store: Path, error: sqlite3.Error) -> _Old:
    """Return that the old store is damaged; raise if it is not, but in the way."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise ConflictError(
            f"nothing was restored: another process has {store} open; find it with "
            f"`fuser {store}`, end it or wait for it, then try again"
        ) from error
    if code == sqlite3.SQLITE_FULL:
        raise storefile.unavailable(store, error) from error
    return _Old(damage=str(error))


def _raise_epoch(new: Path, old: int | None) -> int:
    with _writing(new) as connection:
        own = epoch_of(connection) or 0
        epoch = own + UNKNOWN_EPOCHS if old is None else max(own, old) + 1
        connection.execute("UPDATE ipam_epoch SET value = ?", (epoch,))
    return epoch


def _look(new: Path) -> tuple[Fault, ...]:
    with opened(new) as connection:
        return tuple(faults(connection))


def _exchange(store: Path, new: Path, now: float) -> tuple[Path, ...]:
    """Name the old files anew and give the new one their place."""
    sync(new)
    name = _free_name(store, now)
    for each in _JOURNALS:
        if beside(store, each).exists() and not beside(store, each).stat().st_size:
            beside(store, each).unlink()  # says nothing
    there = [each for each in ("", *_JOURNALS) if beside(store, each).exists()]
    kept = tuple(beside(name, each) for each in there)
    for each, path in zip(there, kept, strict=True):
        path.hardlink_to(beside(store, each))
    sync(store.parent)
    journals = [each for each in there if each]
    if journals:
        # A journal would be replayed into the new store. First the old store goes: with nothing
        # but a journal no process starts. Then the journal is emptied, not removed, so that this
        # stays so until the new store stands beside it; an empty one means nothing to SQLite.
        store.unlink(missing_ok=True)
        for each in journals:
            empty = beside(store, ".restoring-empty")
            empty.write_bytes(b"")
            empty.replace(beside(store, each))
        beside(store, "-shm").unlink(missing_ok=True)
        sync(store.parent)
    new.replace(store)
    sync(store.parent)
    return kept


def _free_name(store: Path, now: float) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    name, number = f"{store.name}.before-restore-{stamp}", 1
    path = store.with_name(name)
    while any(os.path.lexists(beside(path, each)) for each in ("", *_JOURNALS)):
        number += 1
        path = store.with_name(f"{name}-{number}")
    return path


@contextmanager
def _writing(new: Path) -> Iterator[sqlite3.Connection]:
    with opened(new) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


def _remove(new: Path) -> None:
    discard(new)
    beside(new, "-empty").unlink(missing_ok=True)
