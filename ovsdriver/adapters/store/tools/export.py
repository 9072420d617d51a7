"""Pools, leases and reservations written as lines, from one moment of the store."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

from ipam import LeaseKind
from ovsdriver import __version__
from ovsdriver.adapters.store.lease_rows import (
    POOLS,
    RESERVATIONS,
    Key,
    distance,
    pool_of,
    reservation_of,
)
from ovsdriver.adapters.store.tools.ipam_lines import (
    VERSION,
    End,
    Header,
    LeaseLine,
    Line,
    MemoryLine,
    PoolLine,
    ReservationLine,
    address_text,
    encoded,
)

_LEASES = """
    SELECT offset_high, offset, kind, wanted, name, serial, created
    FROM ipam_lease WHERE pool = ? ORDER BY offset_high, offset
"""
_MEMORIES = """
    SELECT offset_high, offset, name, wanted, since
    FROM ipam_memory WHERE pool = ? ORDER BY since, offset_high, offset
"""

_CHUNK = 500
"""Lines in one write."""


def export(
    connection: sqlite3.Connection, write: Callable[[bytes], object], *, now: float
) -> Mapping[str, int]:
    """Write a store's pools and what belongs to them, and return how many there were of each.

    The same store gives the same lines, but for the header's time.

    Args:
        connection: in a read transaction, with tables that are up to date.
        write: takes some lines; what it raises is raised here.
        now: seconds since the epoch.

    Raises:
        StoreError: a row makes no sense.
        sqlite3.Error: the store cannot be read.
    """
    counts: Counter[type] = Counter()
    lines = _lines(connection, now)
    while chunk := list(islice(lines, _CHUNK)):
        counts.update(map(type, chunk))
        write("".join(f"{encoded(line)}\n" for line in chunk).encode())
    end = End(
        pools=counts[PoolLine],
        leases=counts[LeaseLine],
        memories=counts[MemoryLine],
        reservations=counts[ReservationLine],
    )
    write(f"{encoded(end)}\n".encode())
    return asdict(end)


def _lines(connection: sqlite3.Connection, now: float) -> Iterator[Line]:
    (epoch,) = connection.execute("SELECT value FROM ipam_epoch").fetchone()
    yield Header(version=VERSION, epoch=epoch, exported=now, program=f"ovsnet {__version__}")
    for row in connection.execute(POOLS).fetchall():
        yield from _pool(connection, row)
    for row in connection.execute(f"{RESERVATIONS} ORDER BY space, address"):
        yield ReservationLine.of(reservation_of(row))


def _pool(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Iterator[Line]:
    pool = pool_of(row)
    key = Key.of(row[0], pool)
    yield PoolLine.of(pool)
    for high, low, kind, wanted, name, serial, created in connection.execute(
        _LEASES, (key.number,)
    ):
        yield LeaseLine(
            pool=pool.id,
            address=address_text(key.first + distance(high, low), key.family),
            kind=LeaseKind(kind),
            wanted=bool(wanted),
            name=name,
            serial=serial,
            created=created,
        )
    for high, low, name, wanted, since in connection.execute(_MEMORIES, (key.number,)):
        yield MemoryLine(
            pool=pool.id,
            address=address_text(key.first + distance(high, low), key.family),
            name=name,
            wanted=bool(wanted),
            since=since,
        )
