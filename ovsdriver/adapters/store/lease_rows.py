"""Pools and leases as columns: where an address stands in a row, and what a row means."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from netaddr import IPAddress, IPNetwork
from netaddr.core import AddrFormatError

from ipam import Lease, LeaseKind, Memory, Pool, PoolId, Reservation, StoreError
from ovsdriver.codec import range_of, range_text

_LOW_BITS = 62
_LOW = (1 << _LOW_BITS) - 1

POOLS = """
    SELECT key, id, space, subnet, range, automatic, created, excluded, quarantine, most, probe
    FROM ipam_pool ORDER BY key
"""
"""For :func:`pool_of`."""

ADD_POOL = """
    INSERT INTO ipam_pool (
        id, space, subnet, range, automatic, created, excluded, quarantine, most, probe
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (space, subnet) DO NOTHING RETURNING key
"""
"""For :func:`pool_columns`."""

RESERVATIONS = "SELECT space, address, name, note, created FROM ipam_reservation"
"""For :func:`reservation_of`."""


class Key(NamedTuple):
    """What the rows of leases know of their pool."""

    number: int
    first: int
    family: int

    @classmethod
    def of(cls, number: int, pool: Pool) -> "Key":
        """Return the key of the pool in row ``number``."""
        return cls(number, int(pool.subnet.first), pool.family)

    def place(self, address: IPAddress) -> tuple[int, int, int]:
        """Return the columns of an address: pool, offset_high, offset."""
        return self.columns(int(address) - self.first)

    def columns(self, offset: int) -> tuple[int, int, int]:
        """Return the columns of the address so far from the subnet's first one."""
        return self.number, offset >> _LOW_BITS, offset & _LOW

    def address(self, high: int, low: int) -> IPAddress:
        """Return the address of the columns."""
        return IPAddress(self.first + distance(high, low), self.family)


def distance(high: int, low: int) -> int:
    """Return how far from the subnet's first address the columns ``offset_high, offset`` are."""
    return (high << _LOW_BITS) + low


def pool_of(row: tuple[Any, ...]) -> Pool:
    """Return the pool of a row of :data:`POOLS`; StoreError if it makes no sense."""
    _, name, space, subnet, window, automatic, created, excluded, quarantine_s, most, probe = row
    try:
        return Pool(
            id=PoolId(name),
            space=space,
            subnet=IPNetwork(subnet),
            window=None if window is None else IPNetwork(window),
            automatic=bool(automatic),
            excluded=tuple(map(range_of, excluded.split())),
            quarantine_s=quarantine_s,
            limit=most,
            probe=bool(probe),
            created=created,
        )
    except (AddrFormatError, ValueError) as error:
        raise StoreError(
            f"the store has a pool {name} that makes no sense ({error}); it was not changed. "
            "Restore it from a backup"
        ) from error


def pool_columns(pool: Pool) -> tuple[Any, ...]:
    """Return the values for :data:`ADD_POOL`."""
    return (
        pool.id,
        pool.space,
        str(pool.subnet),
        None if pool.window is None else str(pool.window),
        pool.automatic,
        pool.created,
        " ".join(map(range_text, pool.excluded)),
        pool.quarantine_s,
        pool.limit,
        pool.probe,
    )


def lease_of(pool: PoolId, key: Key, row: Sequence[Any]) -> Lease:
    """Return the lease of ``offset_high, offset, serial, kind, wanted, name, created``."""
    high, low, serial, kind, wanted, name, created = row
    return Lease(
        pool=pool,
        address=key.address(high, low),
        kind=LeaseKind(kind),
        wanted=bool(wanted),
        name=name,
        serial=serial,
        created=created,
    )


def memory_of(key: Key, row: Sequence[Any]) -> Memory:
    """Return the memory of ``offset_high, offset, name, wanted, since``."""
    high, low, name, wanted, since = row
    return Memory(address=key.address(high, low), name=name, wanted=bool(wanted), since=since)


def reservation_of(row: Sequence[Any]) -> Reservation:
    """Return the reservation of a row of :data:`RESERVATIONS`; StoreError if it makes no sense."""
    space, address, name, note, created = row
    try:
        return Reservation(
            space=space, address=IPAddress(address), name=name, note=note, created=created
        )
    except (AddrFormatError, ValueError) as error:
        raise StoreError(
            f"the store has a reservation of {address!r} that makes no sense; it was not changed. "
            "Restore it from a backup"
        ) from error
