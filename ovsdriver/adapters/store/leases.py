"""The port ``LeaseStore`` as rows in SQLite."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import chain
from typing import Any, TypeVar

from netaddr import IPAddress

from ipam import (
    Contents,
    Lease,
    LeaseKind,
    Memory,
    Pool,
    PoolId,
    Reservation,
    StoredPool,
    StoreError,
    Told,
)
from ipam.choice.bitmap import fill, pack
from ovsdriver.adapters.store.database import Database, Unit
from ovsdriver.adapters.store.events import Row, SqliteEvents, keep
from ovsdriver.adapters.store.lease_rows import (
    ADD_POOL,
    POOLS,
    RESERVATIONS,
    Key,
    distance,
    lease_of,
    memory_of,
    pool_columns,
    pool_of,
    reservation_of,
)
from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.errors import UnavailableError

T = TypeVar("T")

_PAGE = 5000
"""Leases read at once: commits go on between two pages."""

_NEXT_EPOCH = "UPDATE ipam_epoch SET value = value + 1 RETURNING value"

_REMOVE_POOL = "DELETE FROM ipam_pool WHERE id = ?"

# Nearly all rows are near ones, and nearly all of these stand side by side, since the lowest free
# address is given. So pieces without a gap are told by their ends: reading a row in Python takes
# ten times as long as counting it.
_PIECE = 4096
_NEAR_PIECE = """
    SELECT count(*), min(offset), max(offset) FROM (
        SELECT offset FROM ipam_lease WHERE pool = ? AND offset_high = 0 AND offset > ?
        ORDER BY offset LIMIT ?
    )
"""
_NEAR = """
    SELECT offset FROM ipam_lease
    WHERE pool = ? AND offset_high = 0 AND offset BETWEEN ? AND ? ORDER BY offset
"""
_FAR = """
    SELECT offset_high, offset FROM ipam_lease WHERE pool = ? AND offset_high > 0
    ORDER BY offset_high, offset
"""
_GATEWAYS = """
    SELECT pool, offset_high, offset, serial, kind, wanted, name, created
    FROM ipam_lease WHERE kind = 'gateway'
"""
_ADD_LEASES = """
    INSERT INTO ipam_lease (serial, pool, offset_high, offset, kind, wanted, name, created)
    VALUES {rows}
    ON CONFLICT (pool, offset_high, offset) DO NOTHING
"""
_ROWS_AT_ONCE = 64
"""Of a statement that puts in many. Statements are of powers of two rows, so they stay few."""
_THERE = "SELECT 1 FROM ipam_lease WHERE serial = ?"
_REMOVE_LEASE = """
    DELETE FROM ipam_lease
    WHERE pool = ? AND offset_high = ? AND offset = ? AND (? IS NULL OR serial = ?)
    RETURNING offset_high, offset, serial, kind, wanted, name, created
"""
_LEASE = """
    SELECT offset_high, offset, serial, kind, wanted, name, created
    FROM ipam_lease WHERE pool = ? AND offset_high = ? AND offset = ?
"""
_LEASES = """
    SELECT offset_high, offset, serial, kind, wanted, name, created
    FROM ipam_lease WHERE pool = ? AND (offset_high, offset) > (?, ?)
    ORDER BY offset_high, offset LIMIT ?
"""
_AUXILIARY = "SELECT pool, count(*) FROM ipam_lease WHERE kind = 'aux' GROUP BY pool"
_NAMES = """
    SELECT name FROM (
        SELECT name FROM ipam_lease WHERE pool = ? ORDER BY offset_high, offset LIMIT 1000
    ) WHERE name <> '' LIMIT ?
"""

_MEMORIES = """
    SELECT pool, offset_high, offset, name, wanted, since FROM ipam_memory ORDER BY since
"""
_REMEMBER = """
    INSERT OR REPLACE INTO ipam_memory (pool, offset_high, offset, name, wanted, since)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_LEAVE_MEMORY = """
    INSERT OR REPLACE INTO ipam_memory (pool, offset_high, offset, name, wanted, since)
    SELECT pool, offset_high, offset, name, wanted, ? FROM ipam_lease
    WHERE pool = ? AND offset_high = ? AND offset = ? AND (? IS NULL OR serial = ?)
    AND kind = 'endpoint'
"""
_FORGET = "DELETE FROM ipam_memory WHERE pool = ? AND offset_high = ? AND offset = ?"


_RESERVE = """
    INSERT OR REPLACE INTO ipam_reservation (space, address, name, note, created)
    VALUES (?, ?, ?, ?, ?)
"""
_UNRESERVE = "DELETE FROM ipam_reservation WHERE space = ? AND address = ?"


class SqliteLeases:
    """Pools and leases in the store's file; nobody else writes to its tables."""

    def __init__(
        self,
        database: Database,
        events: SqliteEvents | None = None,
        *,
        network_of: Callable[[PoolId], str] = lambda _: "",
    ) -> None:
        """Use the tables of ``database``; :meth:`load` comes before all else.

        ``events`` takes which addresses containers get and lose, with the commits that say so, and
        ``network_of`` says whose a pool is.
        """
        self._database = database
        self._events = events
        self._network_of = network_of
        self._keys: dict[PoolId, Key] = {}

    async def load(self) -> Contents:
        (epoch,) = await self._write(lambda c: c.execute(_NEXT_EPOCH).fetchone())
        stored = await self._read(stored_pools)
        reservations = await self._read(lambda c: c.execute(RESERVATIONS).fetchall())
        self._keys = {pool.pool.id: key for key, pool in stored}
        return Contents(
            epoch=epoch,
            pools=[pool for _, pool in stored],
            reservations=[reservation_of(row) for row in reservations],
        )

    async def add_pool(self, pool: Pool) -> bool:
        values = pool_columns(pool)
        row = await self._write(lambda c: c.execute(ADD_POOL, values).fetchone())
        if row is None:
            return False
        self._keys[pool.id] = Key.of(row[0], pool)
        return True

    async def remove_pool(self, pool: PoolId) -> bool:
        removed = await self._write(lambda c: c.execute(_REMOVE_POOL, (pool,)).rowcount)
        self._keys.pop(pool, None)
        return removed > 0

    def add_lease(self, lease: Lease, told: Told) -> None:
        key = self._keys.get(lease.pool)
        if key is None:
            missing = StoreError(f"the store has no pool {lease.pool}; nothing was given")
            asyncio.get_running_loop().call_soon(told, False, missing)
            return
        row = (
            lease.serial,
            *key.place(lease.address),
            lease.kind.value,
            lease.wanted,
            lease.name,
            lease.created,
        )
        event = self._event("given", lease)
        self._database.write_alike(
            _add_leases,
            (row, event),
            told if event is None else partial(self._given, event, told),
            as_error=_store_error,
        )

    def _event(self, action: str, lease: Lease) -> Row | None:
        if self._events is None or lease.kind is not LeaseKind.ENDPOINT:
            return None
        return self._events.row(
            Happening(
                EventType.LEASE,
                action,
                network=self._network_of(lease.pool),
                container=lease.name,
                attributes={"address": str(lease.address), "pool": lease.pool},
            )
        )

    def _given(self, event: Row, told: Told, result: Any, error: BaseException | None) -> None:
        if result:
            self._show((event,))
        told(result, error)

    def _show(self, told: Sequence[Row]) -> None:
        if self._events is not None:
            self._events.show(told)

    async def remove_lease(
        self,
        pool: PoolId,
        address: IPAddress,
        *,
        serial: int | None = None,
        since: float | None = None,
    ) -> Lease | None:
        key = self._keys.get(pool)
        if key is None:
            return None
        place = (*key.place(address), serial, serial)

        # It has its number before it is known whether that was a container's.
        event = self._event("released", Lease(pool, address, LeaseKind.ENDPOINT))

        def unit(connection: sqlite3.Connection) -> tuple[tuple[Any, ...] | None, Sequence[Row]]:
            if since is not None:
                connection.execute(_LEAVE_MEMORY, (since, *place))
            row: tuple[Any, ...] | None = connection.execute(_REMOVE_LEASE, place).fetchone()
            told = [] if row is None or event is None else _released(event, row[3], row[5])
            keep(connection, told)
            return row, told

        row, _ = await self._database.write(
            unit, lambda done: self._show(done[1]), as_error=_store_error
        )
        return None if row is None else lease_of(pool, key, row)

    async def remember(
        self, pool: PoolId, *, memories: Sequence[Memory], forget: Sequence[IPAddress]
    ) -> None:
        key = self._keys.get(pool)
        if key is None:
            return
        forgotten = [key.place(address) for address in forget]
        noted = [
            (*key.place(each.address), each.name, each.wanted, each.since) for each in memories
        ]

        def unit(connection: sqlite3.Connection) -> None:
            connection.executemany(_FORGET, forgotten)
            connection.executemany(_REMEMBER, noted)

        await self._write(unit)

    async def reserve(
        self, *, put: Sequence[Reservation], drop: Sequence[tuple[str, IPAddress]] = ()
    ) -> None:
        dropped = [(space, str(address)) for space, address in drop]
        kept = [(each.space, str(each.address), each.name, each.note, each.created) for each in put]

        def unit(connection: sqlite3.Connection) -> None:
            connection.executemany(_UNRESERVE, dropped)
            connection.executemany(_RESERVE, kept)

        await self._write(unit)

    async def lease(self, pool: PoolId, address: IPAddress) -> Lease | None:
        key = self._keys.get(pool)
        if key is None:
            return None
        place = key.place(address)
        row = await self._read(lambda c: c.execute(_LEASE, place).fetchone())
        return None if row is None else lease_of(pool, key, row)

    async def leases(
        self, pool: PoolId, *, after: IPAddress | None = None, limit: int | None = None
    ) -> Sequence[Lease]:
        key = self._keys.get(pool)
        if key is None:
            return ()
        found: list[Lease] = []
        place = (key.number, -1, 0) if after is None else key.place(after)
        while limit is None or len(found) < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = await self._read(_page(*place, size))
            found += [lease_of(pool, key, row) for row in page]
            if len(page) < size:
                break
            place = (key.number, page[-1][0], page[-1][1])
        return found

    async def names(self, pool: PoolId, *, most: int) -> Sequence[str]:
        key = self._keys.get(pool)
        if key is None:
            return ()
        named = await self._read(lambda c: c.execute(_NAMES, (key.number, most)).fetchall())
        return [name for (name,) in named]

    async def _write(self, unit: Unit[T]) -> T:
        # Nothing shields the future: it is ours alone, and one that is cancelled does not take the
        # unit back either.
        return await self._database.write(unit, as_error=_store_error)

    async def _read(self, unit: Unit[T]) -> T:
        try:
            return await self._database.read(unit)
        except UnavailableError as error:
            raise StoreError(str(error)) from error


def _store_error(error: BaseException) -> BaseException:
    """Return what the file says as an error of the store; mistakes of ours stay what they are."""
    if not isinstance(error, UnavailableError | sqlite3.IntegrityError):
        return error
    translated = StoreError(str(error))
    translated.__cause__ = error
    return translated


def _add_leases(
    connection: sqlite3.Connection, given: Sequence[tuple[tuple[Any, ...], Row | None]]
) -> list[bool]:
    """Put in rows, and return which ones; the others' addresses have a holder.

    With each goes what is told of it.
    """
    added: list[bool] = []
    rows = [row for row, _ in given]
    while len(added) < len(rows):
        left = len(rows) - len(added)
        number = min(_ROWS_AT_ONCE, 1 << (left.bit_length() - 1))
        some = rows[len(added) : len(added) + number]
        values = list(chain.from_iterable(some))
        if connection.execute(_adding(number), values).rowcount == number:
            added += [True] * number
        else:  # seldom: another user of the store
            there = (connection.execute(_THERE, (serial,)).fetchone() for serial, *_ in some)
            added += [row is not None for row in there]
    keep(
        connection,
        [event for (_, event), done in zip(given, added, strict=True) if done and event],
    )
    return added


def _released(event: Row, kind: str, name: str) -> Sequence[Row]:
    """Return what is told of a lease that is gone."""
    return [(*event[:6], name, *event[7:])] if kind == LeaseKind.ENDPOINT.value else []


@cache
def _adding(number: int) -> str:
    return _ADD_LEASES.format(rows=", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * number))


def stored_pools(connection: sqlite3.Connection) -> list[tuple[Key, StoredPool]]:
    """Return what is read at start, pool by pool; StoreError if a row makes no sense."""
    keys = {}
    pools = {}
    for row in connection.execute(POOLS):
        pool = pool_of(row)
        keys[row[0]], pools[row[0]] = Key.of(row[0], pool), pool
    gateways = {}
    for number, *row in connection.execute(_GATEWAYS):
        gateways[number] = lease_of(pools[number].id, keys[number], row)
    auxiliary = dict(connection.execute(_AUXILIARY))
    memories: dict[int, list[Memory]] = {}
    for number, *row in connection.execute(_MEMORIES):
        memories.setdefault(number, []).append(memory_of(keys[number], row))
    return [
        (
            key,
            StoredPool(
                pool=pools[number],
                taken=_taken(connection, number),
                gateway=gateways.get(number),
                auxiliary=auxiliary.get(number, 0),
                memories=memories.get(number, ()),
            ),
        )
        for number, key in keys.items()
    ]


def _page(number: int, high: int, low: int, size: int) -> Unit[list[tuple[Any, ...]]]:
    return lambda c: c.execute(_LEASES, (number, high, low, size)).fetchall()


def _taken(connection: sqlite3.Connection, number: int) -> dict[int, int]:
    """Return the held offsets of the pool in row ``number``, packed."""
    words: dict[int, int] = {}
    after = -1
    while True:
        piece = connection.execute(_NEAR_PIECE, (number, after, _PIECE)).fetchone()
        count, first, after = piece
        if not count:
            break
        if after - first + 1 == count:
            fill(words, first, after)
        else:
            near = connection.execute(_NEAR, (number, first, after))
            _merge(words, pack(chain.from_iterable(near)))
    far = connection.execute(_FAR, (number,))
    _merge(words, pack(distance(high, low) for high, low in far))
    return words


def _merge(words: dict[int, int], more: dict[int, int]) -> None:
    for number, word in more.items():
        words[number] = words.get(number, 0) | word
