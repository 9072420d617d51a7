"""Pools, leases and reservations taken over from lines: all of them, or none."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import count, groupby
from pathlib import Path
from typing import Any, BinaryIO

from ipam import IpamError, Pool, PoolId, Reservation, StoreError, checks
from ipam.ledger import Ledger
from ipam.reservations import MOST as RESERVATIONS_MOST
from ipam.spaces import Spaces
from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.lease_rows import ADD_POOL, POOLS, Key, pool_columns, pool_of
from ovsdriver.adapters.store.leases import stored_pools
from ovsdriver.adapters.store.newfile import discard
from ovsdriver.adapters.store.tools import inspection
from ovsdriver.adapters.store.tools.ipam_lines import (
    End,
    Header,
    LeaseLine,
    Line,
    LineError,
    Lines,
    MemoryLine,
    PoolLine,
    ReservationLine,
    address_value,
)
from ovsdriver.codec import shown
from ovsdriver.errors import ConflictError, InvalidRequestError, UnavailableError

BUSY_S = 5.0

_ADD_LEASE = """
    INSERT INTO ipam_lease (serial, pool, offset_high, offset, kind, wanted, name, created)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_MEMORY = """
    INSERT INTO ipam_memory (pool, offset_high, offset, name, wanted, since)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_ADD_RESERVATION = """
    INSERT INTO ipam_reservation (space, address, name, note, created) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (space, address) DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What was taken over."""

    pools: int
    leases: int
    memories: int
    reservations: int
    epoch: int
    renumbered: bool
    """The leases have new serials, because this store had some already."""


def take_over(file: BinaryIO, store: Path, *, name: str) -> Imported:
    """Read an export into the store, which is made if it is not there.

    Pools keep their ids, which Docker knows. Leases keep their serials if the store has none:
    else endpoints of this host may know a lease by the same serial.

    Args:
        file: the lines; read once, and never more than one of them at a time.
        store: its directory's lock is the caller's.
        name: of the file, for errors.

    Raises:
        InvalidRequestError: a line makes no sense, or does not beside those before it.
        ConflictError: a pool or a reservation is in the way.
        UnavailableError: the store cannot be used, or something in it does not fit together.
        In each case nothing was imported.
    """
    lines = Lines(file)
    try:
        return _take_over(lines, store)
    except LineError as error:
        where = f"{name}, line {lines.number}" if lines.number else name
        raise InvalidRequestError(f"{where}: {error}; nothing was imported") from error
    except ConflictError as error:
        raise ConflictError(
            f"{name}, line {lines.number}: {error}; nothing was imported"
        ) from error
    except (sqlite3.Error, OSError) as error:
        raise storefile.unavailable(store, error) from error


def _take_over(lines: Lines, store: Path) -> Imported:
    each = iter(lines)
    first = next(each, None)
    if first is None:
        raise LineError("it is empty")
    if not isinstance(first, Header):
        raise LineError(f"it is no header of an export (type {Header.TYPE!r})")
    first.check()  # before a store is made for it
    fresh = not store.exists()
    opened = storefile.connect(store, busy_timeout_s=BUSY_S)  # refuses what is not ours to remove
    try:
        with closing(opened) as connection:
            connection.execute("BEGIN IMMEDIATE")
            imported = _Import(connection, lines, first.epoch).run(each)
            connection.execute("COMMIT")
    except BaseException:
        if fresh:
            discard(store)
        raise
    return imported


class _Import:
    """One transaction; whoever began it ends it."""

    def __init__(self, connection: sqlite3.Connection, lines: Lines, exported: int) -> None:
        self._connection = connection
        self._lines = lines
        self._exported = exported
        self._spaces = Spaces(defaults=(), exclude=(), limits=())
        self._here: set[PoolId] = set()
        """Ids of the pools that were here before."""
        self._pools: dict[str, tuple[Key, int]] = {}
        """What is imported, by id, with how many addresses its subnet has."""
        self._counts: Counter[type] = Counter()
        self._in_space: Counter[str] = Counter()
        self._serials: Iterator[int] | None = None
        self._ended = False

    def run(self, lines: Iterable[Line]) -> Imported:
        epoch = self._prepare()
        add: Mapping[type, Callable[[Any], None]] = {
            PoolLine: self._add_pools,
            LeaseLine: self._add_leases,
            MemoryLine: self._add_memories,
            ReservationLine: self._add_reservations,
            End: self._end,
        }
        for kind, group in groupby(lines, key=type):
            if self._ended:
                raise LineError("something comes after the end")
            if kind not in add:
                raise LineError("a second header")
            add[kind](group)
        if not self._ended:
            raise LineError("the file ends here, without its end: it was cut")
        self._look()
        return Imported(
            pools=self._counts[PoolLine],
            leases=self._counts[LeaseLine],
            memories=self._counts[MemoryLine],
            reservations=self._counts[ReservationLine],
            epoch=epoch,
            renumbered=self._serials is not None,
        )

    def _prepare(self) -> int:
        """Raise the epoch above both, and learn what is here; return the epoch."""
        fault = next(inspection.faults(self._connection), None)
        if fault is not None:
            raise UnavailableError(
                f"the store does not fit together ({fault.text}), so nothing was imported; see "
                "`ovsnet ipam check`"
            )
        (own,) = self._connection.execute("SELECT value FROM ipam_epoch").fetchone()
        epoch = max(int(own), self._exported) + 1
        self._connection.execute("UPDATE ipam_epoch SET value = ?", (epoch,))
        for row in self._connection.execute(POOLS):
            pool = pool_of(row)
            self._spaces.add(pool)
            self._here.add(pool.id)
        known = "SELECT EXISTS (SELECT 1 FROM ipam_lease) OR EXISTS (SELECT 1 FROM endpoint)"
        if self._connection.execute(known).fetchone()[0]:
            # Nobody else uses this epoch: the next start takes a higher one.
            self._serials = count((epoch << inspection.SERIAL_BITS) + 1)
        for space, number in self._connection.execute(
            "SELECT space, count(*) FROM ipam_reservation GROUP BY space"
        ):
            self._in_space[space] = number
        return epoch

    def _add_pools(self, lines: Iterable[PoolLine]) -> None:
        for line in lines:
            pool = line.pool(self._exported)
            self._check_free(pool)
            (number,) = self._connection.execute(ADD_POOL, pool_columns(pool)).fetchone()
            self._spaces.add(pool)
            self._pools[pool.id] = Key.of(number, pool), int(pool.subnet.size)
            self._counts[PoolLine] += 1

    def _check_free(self, pool: Pool) -> None:
        if pool.id in self._pools:
            raise LineError(f"pool {pool.id} was there in an earlier line")
        if pool.id in self._here:
            raise ConflictError(
                f"pool {pool.id} is here already; remove its network first (docker network rm)"
            )
        other = self._spaces.overlapping(pool.space, pool.subnet)
        if other is None:
            return
        what = f"subnet {pool.subnet} of space {pool.space} overlaps pool {other.id}"
        if other.id in self._pools:
            raise LineError(f"{what} of an earlier line")
        raise ConflictError(
            f"{what}, which is here already; remove its network first (docker network rm)"
        )

    def _offset(self, line: LeaseLine | MemoryLine) -> tuple[Key, int, int]:
        """Return an address's pool, its distance from the subnet's first, and the subnet's size."""
        if line.pool not in self._pools:
            raise LineError(f"no line before it is of pool {shown(line.pool)}")
        key, size = self._pools[line.pool]
        offset = address_value(line.address, key.family) - key.first
        if not 0 <= offset < size:
            raise LineError(f"{line.address} lies outside of its pool's subnet")
        try:
            checks.holder_name(line.name)
        except IpamError as error:
            raise LineError(str(error)) from error
        self._counts[type(line)] += 1
        return key, offset, size

    def _add_leases(self, lines: Iterable[LeaseLine]) -> None:
        try:
            self._connection.executemany(_ADD_LEASE, map(self._lease_row, lines))
        except sqlite3.IntegrityError as error:
            # Rows are read and added one by one, so the last line is the one that is refused.
            raise LineError(_twice(str(error))) from error

    def _lease_row(self, line: LeaseLine) -> tuple[object, ...]:
        key, offset, size = self._offset(line)
        if key.family == 4 and size > 2 and offset in (0, size - 1):
            raise LineError(f"{line.address} is its subnet's network or broadcast address")
        if not 1 <= line.serial < (self._exported + 1) << inspection.SERIAL_BITS:
            raise LineError(f"serial {shown(line.serial)} is of no start up to {self._exported}")
        serial = line.serial if self._serials is None else next(self._serials)
        place = key.columns(offset)
        return (serial, *place, line.kind.value, line.wanted, line.name, line.created)

    def _add_memories(self, lines: Iterable[MemoryLine]) -> None:
        try:
            self._connection.executemany(_ADD_MEMORY, map(self._memory_row, lines))
        except sqlite3.IntegrityError as error:
            raise LineError("its address was remembered in an earlier line") from error

    def _memory_row(self, line: MemoryLine) -> tuple[object, ...]:
        key, offset, _ = self._offset(line)
        return (*key.columns(offset), line.name, line.wanted, line.since)

    def _add_reservations(self, lines: Iterable[ReservationLine]) -> None:
        for line in lines:
            made = line.reservation()
            row = (made.space, str(made.address), made.name, made.note, made.created)
            added = self._connection.execute(_ADD_RESERVATION, row).rowcount
            self._in_space[made.space] += added
            if not added:
                self._check_same(made)
            self._counts[ReservationLine] += 1
            if self._in_space[made.space] > RESERVATIONS_MOST:
                raise LineError(
                    f"space {made.space} gets more than {RESERVATIONS_MOST} reservations"
                )

    def _check_same(self, wanted: Reservation) -> None:
        """Refuse a reservation of an address that is kept for somebody else."""
        (name,) = self._connection.execute(
            "SELECT name FROM ipam_reservation WHERE space = ? AND address = ?",
            (wanted.space, str(wanted.address)),
        ).fetchone()
        if name != wanted.name:
            raise ConflictError(
                f"{wanted.address} of space {wanted.space} is reserved here for "
                f"{name or 'nobody'}, not for {wanted.name or 'nobody'}; drop that first"
            )

    def _end(self, lines: Iterable[End]) -> None:
        for line in lines:
            if self._ended:
                raise LineError("a second end")
            self._ended = True
            for kind, name, said in (
                (PoolLine, "pools", line.pools),
                (LeaseLine, "leases", line.leases),
                (MemoryLine, "memories", line.memories),
                (ReservationLine, "reservations", line.reservations),
            ):
                if self._counts[kind] != said:
                    raise LineError(
                        f"there should be {shown(said)} {name}, and there were "
                        f"{self._counts[kind]}: lines were lost or added"
                    )

    def _look(self) -> None:
        """Read what was written as the process will."""
        fault = next(inspection.faults(self._connection), None)
        if fault is not None:
            raise LineError(f"what it says does not fit together: {fault.text}")
        try:
            for _, stored in stored_pools(self._connection):
                Ledger.of(stored)
        except StoreError as error:
            raise LineError(f"what it says cannot be read back: {error}") from error


def _twice(error: str) -> str:
    if "ipam_lease.offset" in error:
        return "its address was held in an earlier line"
    if "ipam_lease.serial" in error:
        return "its serial was that of an earlier line"
    return "its pool had a gateway in an earlier line"
