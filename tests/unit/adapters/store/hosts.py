"""Stores of hosts that were in use, as files."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ovsdriver.adapters.store import storefile

FIRST_RELEASE = Path(__file__).parent / "files" / "schema-2.db"
"""Three pools with nine leases and two memories, a network, an endpoint and a note; epoch 1."""

TABLES = (
    *("ipam_pool", "ipam_lease", "ipam_memory", "ipam_reservation"),
    *("network", "network_pool", "endpoint", "note"),
)


def used(path: Path) -> Path:
    """Make a store with something of each kind at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(FIRST_RELEASE, path)
    path.chmod(0o600)
    storefile.connect(path, busy_timeout_s=0).close()
    with changed(path) as connection:
        connection.execute(
            "INSERT INTO ipam_reservation VALUES ('ovsnet', '10.20.0.50', 'printer', 'desk', 17.0)"
        )
    return path


@contextmanager
def changed(path: Path, *, keys: bool = True) -> Iterator[sqlite3.Connection]:
    """Give a connection for doing to a store what no process of ours would do."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA foreign_keys = {keys}")
        yield connection


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return everything that a store holds, but for its epoch."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()  # noqa: S608
            for table in TABLES
        }


def epoch(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT value FROM ipam_epoch").fetchone()[0])


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def break_an_index(path: Path) -> None:
    """Damage that only a check of the whole file finds: rows that an index does not have."""
    with changed(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, '(pool)', '(name)') "
            "WHERE name = 'ipam_lease_gateway'"
        )
