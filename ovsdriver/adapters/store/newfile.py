"""A file for the user: there whole or not at all, and never in the place of another one.

And what is done to the files of a database, of which SQLite has up to four.
"""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovsdriver.errors import ConflictError, UnavailableError

_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""Of the database itself, and of what SQLite may keep beside it."""


def beside(path: Path, suffix: str) -> Path:
    """Return a file's neighbour with a longer name."""
    return path.with_name(f"{path.name}{suffix}")


def discard(path: Path) -> None:
    """Remove a file, and what SQLite keeps beside it if it is a database."""
    for suffix in _SUFFIXES:
        beside(path, suffix).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a file to write, for its owner only, which is called ``target`` once it is on the disk.

    What raises inside leaves nothing behind.

    Raises:
        ConflictError: ``target`` is there.
        UnavailableError: it cannot be made there.
    """
    if os.path.lexists(target):
        raise _there(target)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(descriptor)
    except OSError as error:
        raise unwritten(target, error) from error
    made = Path(name)
    try:
        yield made
        sync(made)
        _publish(made, target)
        sync(target.parent)
    except OSError as error:
        raise unwritten(target, error) from error
    finally:
        discard(made)


def unwritten(target: Path, why: object) -> UnavailableError:
    """Return the sentence for a file that could not be written."""
    if isinstance(why, OSError):
        if why.errno in (errno.ENOSPC, errno.EDQUOT):
            why = f"the disk is full; free some space on {target.parent}"
        else:
            why = f"{why.strerror or why}; is {target.parent} a directory that you may write to?"
    return UnavailableError(f"{target} was not written: {why}")


def _publish(made: Path, target: Path) -> None:
    try:
        os.link(made, target)
    except FileExistsError:
        raise _there(target) from None
    except OSError as error:
        # Not every file system has hard links, the one way to name a file only if that is free.
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        if os.path.lexists(target):
            raise _there(target) from None
        made.rename(target)


def _there(target: Path) -> ConflictError:
    return ConflictError(
        f"{target} is there already and was not changed; name another file, or move it away"
    )
