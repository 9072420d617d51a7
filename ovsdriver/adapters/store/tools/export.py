"""Pools, leases and reservations written as lines, from one moment of the store."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ovsdriver import __version__
from ovsdriver.adapters.store.lease_rows import (
    POOLS,
    RESERVATIONS,
    Key,
    distance,
    pool_of,
)
from ovsdriver.adapters.store.tools.ipam_lines import FORMAT, VERSION, address_text
from ovsdriver.codec import range_text

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

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


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
    counts: Counter[str] = Counter(pool=0, lease=0, memory=0, reservation=0)
    chunk: list[str] = []
    for line in _lines(connection, now):
        counts[line["type"]] += 1
        chunk.append(_ENCODE(line))
        if len(chunk) == _CHUNK:
            write(_joined(chunk))
            chunk.clear()
    numbers = {
        "pools": counts["pool"],
        "leases": counts["lease"],
        "memories": counts["memory"],
        "reservations": counts["reservation"],
    }
    chunk.append(_ENCODE({"type": "end"} | numbers))
    write(_joined(chunk))
    return numbers


def _joined(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _lines(connection: sqlite3.Connection, now: float) -> Iterator[dict[str, Any]]:
    (epoch,) = connection.execute("SELECT value FROM ipam_epoch").fetchone()
    yield {
        "type": FORMAT,
        "version": VERSION,
        "epoch": epoch,
        "exported": now,
        "program": f"ovsnet {__version__}",
    }
    for row in connection.execute(POOLS).fetchall():
        yield from _pool(connection, row)
    for space, address, name, note, created in connection.execute(
        f"{RESERVATIONS} ORDER BY space, address"
    ):
        yield {
            "type": "reservation",
            "space": space,
            "address": address,
            "name": name,
            "note": note,
            "created": created,
        }


def _pool(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    pool = pool_of(row)
    key = Key.of(row[0], pool)
    yield {
        "type": "pool",
        "id": pool.id,
        "space": pool.space,
        "subnet": str(pool.subnet),
        "range": None if pool.window is None else str(pool.window),
        "automatic": pool.automatic,
        "exclude": [range_text(each) for each in pool.excluded],
        "quarantine": pool.quarantine_s,
        "limit": pool.limit,
        "probe": pool.probe,
        "created": pool.created,
    }
    for high, low, kind, wanted, name, serial, created in connection.execute(
        _LEASES, (key.number,)
    ):
        yield {
            "type": "lease",
            "pool": pool.id,
            "address": address_text(key.first + distance(high, low), key.family),
            "kind": kind,
            "wanted": bool(wanted),
            "name": name,
            "serial": serial,
            "created": created,
        }
    for high, low, name, wanted, since in connection.execute(_MEMORIES, (key.number,)):
        yield {
            "type": "memory",
            "pool": pool.id,
            "address": address_text(key.first + distance(high, low), key.family),
            "name": name,
            "wanted": bool(wanted),
            "since": since,
        }
