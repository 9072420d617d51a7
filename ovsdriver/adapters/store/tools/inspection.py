"""Whether what the store holds fits together: the file, its pools and leases, its records.

What SQLite promises by constraints (one holder for an address, one gateway in a pool, serials that
are unique) is left to its own check of the file. The rest are promises between rows, which only
this program knows. Leases are looked at by queries and never one by one: there may be a million.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from netaddr import AddrFormatError, IPNetwork

from ipam import IpamError, Pool, PoolId, PoolRequest, Reservation, checks
from ovsdriver.adapters.store import records
from ovsdriver.adapters.store.lease_rows import POOLS, RESERVATIONS, Key, pool_of, reservation_of
from ovsdriver.codec import UnreadableError
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network, NetworkId
from ovsdriver.domain.records.segments import segment_of

T = TypeVar("T")

SERIAL_BITS = 40
"""Of a lease's serial, below the epoch of the start that gave it (``ipam.service``)."""

EPOCHS = 1 << 22
"""More starts than a store has in its life; a serial of 63 bits has room for twice as many."""

MOST = 10
"""Faults of one kind in one pool that are told; a damaged store may have a million."""

_ID_EPOCH = re.compile(r"/([0-9]{1,18})\.[0-9]+$")

_RESTORE = "ovsnet ipam restore FILE, with a backup from before"
_BY_HAND = (
    "remove it with docker network rm and make it again; ovsnet network rm {} if docker does not "
    "know it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong, and what to do."""

    subject: str
    text: str
    remedy: str = _RESTORE


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much there is."""

    pools: int
    leases: int
    memories: int
    reservations: int
    networks: int
    endpoints: int


def counts(connection: sqlite3.Connection) -> Counts:
    """Count the rows of a store."""

    def of(table: str) -> int:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - names of ours

    return Counts(
        pools=of("ipam_pool"),
        leases=of("ipam_lease"),
        memories=of("ipam_memory"),
        reservations=of("ipam_reservation"),
        networks=of("network"),
        endpoints=of("endpoint"),
    )


def epoch_of(connection: sqlite3.Connection) -> int | None:
    """Return how often a store was opened; None if it does not say so."""
    (epoch,) = connection.execute("SELECT value FROM ipam_epoch").fetchone() or (None,)
    return epoch if epoch is not None and 0 <= epoch < EPOCHS else None


def held(connection: sqlite3.Connection) -> Mapping[str, int]:
    """Return how many addresses each pool holds, by the pool's id."""
    rows = connection.execute(
        "SELECT id, (SELECT count(*) FROM ipam_lease WHERE pool = key) FROM ipam_pool"
    )
    return dict(rows.fetchall())


def of_spaces(connection: sqlite3.Connection) -> Mapping[str, tuple[int, int]]:
    """Return how many pools and held addresses each space has."""
    rows = connection.execute(
        "SELECT space, count(*), sum((SELECT count(*) FROM ipam_lease WHERE pool = key)) "
        "FROM ipam_pool GROUP BY space"
    )
    return {space: (pools, addresses) for space, pools, addresses in rows}


def damage(connection: sqlite3.Connection, *, most: int = MOST) -> Iterator[str]:
    """Say what is wrong with pages, indexes and constraints; then nothing can be relied on."""
    try:
        for (found,) in connection.execute(f"PRAGMA integrity_check({most})"):
            if found != "ok":
                yield str(found)
        for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchmany(most):
            yield f"a row of {table} belongs to none of {parent}"
    except sqlite3.Error as error:
        yield str(error)


def faults(connection: sqlite3.Connection) -> Iterator[Fault]:
    """Say what does not fit together in a file that is not damaged, with tables up to date."""
    epoch = epoch_of(connection)
    if epoch is None:
        text = "it does not know how often it was opened, so new leases would repeat old serials"
        yield Fault(subject="file", text=text)
        return
    store = _Store(connection=connection, epoch=epoch)
    for check in _CHECKS:
        yield from check(store)


def start_of(pool: str) -> int:
    """Return which start of its store a pool's id is of; 0 if it does not say."""
    found = _ID_EPOCH.search(pool)
    return int(found[1]) if found else 0


@dataclass(slots=True, kw_only=True)
class _Store:
    """What was read so far."""

    connection: sqlite3.Connection
    epoch: int
    pools: dict[PoolId, tuple[Key, Pool]] = field(default_factory=dict)
    networks: dict[NetworkId, Network] = field(default_factory=dict)

    def rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        return iter(self.connection.execute(query, values))

    def holder(self, pool: PoolId, address: Any) -> tuple[int, str] | None:
        """Return serial and kind of an address's lease; None if nobody holds it."""
        key, _ = self.pools[pool]
        query = (
            "SELECT serial, kind FROM ipam_lease WHERE pool = ? AND offset_high = ? AND offset = ?"
        )
        return next(self.rows(query, *key.place(address)), None)


def _few(things: Iterable[T], of: str) -> Iterator[T | str]:
    """Give the first ones, and a sentence if there are more."""
    yield from islice(iterator := iter(things), MOST)
    left = sum(1 for _ in iterator)
    if left:
        yield f"and {left} more {of}"


# Pools


def _pools(store: _Store) -> Iterator[Fault]:
    for row in store.rows(POOLS):
        name = row[1]
        try:
            pool = pool_of(row)
            checks.space(pool.space)
            checks.subnet(PoolRequest(space=pool.space, family=pool.family), pool.subnet)
            if pool.window is not None:
                checks.window(pool.subnet, pool.window)
            checks.excluded(pool.subnet, pool.excluded)
        except IpamError as error:
            yield Fault(subject="pools", text=f"pool {name}: {error}")
            continue
        if str(pool.subnet) != row[3]:
            text = f"pool {name}: its subnet is written {row[3]!r}, not {str(pool.subnet)!r}"
            yield Fault(subject="pools", text=text)
        if start_of(name) > store.epoch:
            text = (
                f"pool {name} has an id of start {start_of(name)} of this store, which was started "
                f"{store.epoch} times: another pool may get the same id"
            )
            yield Fault(subject="pools", text=text)
        store.pools[pool.id] = (Key.of(row[0], pool), pool)


def _overlaps(store: _Store) -> Iterator[Fault]:
    in_order = sorted(
        (pool for _, pool in store.pools.values()),
        key=lambda pool: (pool.space, pool.family, pool.subnet.first, -pool.subnet.last),
    )
    widest: Pool | None = None
    for pool in in_order:
        if widest is not None and (
            (widest.space, widest.family) == (pool.space, pool.family)
            and pool.subnet.first <= widest.subnet.last
        ):
            text = f"pools {widest.id} and {pool.id} of space {pool.space} overlap"
            yield Fault(subject="pools", text=text)
        else:
            widest = pool


# Leases and memories


def _held_and_remembered(store: _Store) -> Iterator[Fault]:
    for key, pool in store.pools.values():
        yield from _leases(store, key, pool)
        yield from _memories(store, key, pool)


def _leases(store: _Store, key: Key, pool: Pool) -> Iterator[Fault]:
    query = "SELECT offset_high, offset, serial FROM ipam_lease WHERE pool = ? AND "
    last = key.place(pool.subnet[-1])[1:]
    ends = (0, last[1]) if pool.family == 4 and pool.subnet.prefixlen < 31 else (-1, -1)
    for condition, values, what in (
        ("(offset_high, offset) > (?, ?)", last, "lies outside of its subnet"),
        (
            "offset_high = 0 AND offset IN (?, ?)",
            ends,
            "is the subnet's network or broadcast address",
        ),
        (
            "(serial < 1 OR serial >= ?)",
            ((store.epoch + 1) << SERIAL_BITS,),
            f"has a serial of none of the {store.epoch} starts of this store, so a later lease "
            "may repeat it",
        ),
    ):
        for row in _few(store.rows(query + condition, key.number, *values), "such leases"):
            if isinstance(row, str):
                text = f"pool {pool.id}: {row}, where an address {what}"
            else:
                text = f"pool {pool.id}: a held address {_address(key, *row[:2])} {what}"
            yield Fault(subject="leases", text=text)
    (count,) = next(store.rows("SELECT count(*) FROM ipam_lease WHERE pool = ?", key.number))
    if pool.limit is not None and count > pool.limit:
        yield Fault(
            subject="leases",
            text=f"pool {pool.id} holds {count} addresses and may hold {pool.limit} (ipam.limit)",
            remedy="end containers on its network; it gives no address before that",
        )


def _memories(store: _Store, key: Key, pool: Pool) -> Iterator[Fault]:
    query = (
        "SELECT offset_high, offset FROM ipam_memory "
        "WHERE pool = ? AND (offset_high, offset) > (?, ?)"
    )
    found = store.rows(query, key.number, *key.place(pool.subnet[-1])[1:])
    for row in _few(found, "such memories"):
        text = (
            f"pool {pool.id}: {row}"
            if isinstance(row, str)
            else f"pool {pool.id}: a remembered address {_address(key, *row)} lies outside of it"
        )
        yield Fault(subject="leases", text=text)


def _address(key: Key, high: int, low: int) -> str:
    try:
        return str(key.address(high, low))
    except (AddrFormatError, ValueError):
        return f"(the subnet's first + {(high << 62) + low})"


def _reservations(store: _Store) -> Iterator[Fault]:
    for row in store.rows(RESERVATIONS):
        try:
            reservation: Reservation = reservation_of(row)
            checks.reservation(reservation)
        except IpamError as error:
            text = f"the reservation of {row[1]} in space {row[0]}: {error}"
            yield Fault(subject="reservations", text=text)
            continue
        if str(reservation.address) != row[1]:
            text = f"an address is written {row[1]!r}, not {str(reservation.address)!r}"
            yield Fault(subject="reservations", text=text)


# Records


def _networks(store: _Store) -> Iterator[Fault]:
    for name, bridge, tag, shared, text in store.rows(
        "SELECT id, bridge, tag, shared, record FROM network ORDER BY id"
    ):
        try:
            network = records.decode(Network, text)
        except UnreadableError as error:
            yield _network_fault(name, f"its record cannot be read ({error})")
            continue
        segment = network.segment
        columns = (network.id, *segment.place, network.shared)
        if columns != (name, bridge, tag, bool(shared)):
            yield _network_fault(
                name,
                f"its record says bridge {segment.bridge} and {segment.name} of network "
                f"{network.id[:12]}, its row bridge {bridge} and VLAN {tag or 'none'}",
            )
        store.networks[NetworkId(name)] = network


def _bindings(store: _Store) -> Iterator[Fault]:
    bound = dict(store.rows("SELECT pool, network FROM network_pool ORDER BY pool"))
    said = {
        subnet.pool: name
        for name, network in store.networks.items()
        for subnet in network.subnets
        if subnet.pool is not None
    }
    for pool in sorted({*bound, *said}):
        row, record = bound.get(pool), said.get(PoolId(pool))
        if row != record and (record is not None or row in store.networks):
            yield _network_fault(
                row or record,
                f"pool {pool} is of {_of(row)} by its row and of {_of(record)} by the records",
            )
    for name, network in store.networks.items():
        # One that ends has given its pools back; one that is being made may not have them all.
        if network.made and not network.ended:
            yield from _subnets(store, name, network)


def _subnets(store: _Store, name: str, network: Network) -> Iterator[Fault]:
    by_hand = _BY_HAND.format(name[:12])
    for subnet in network.subnets:
        if subnet.pool is None or segment_of(subnet.pool) is not None:
            continue  # another IPAM's, or OVN's database has it
        if subnet.pool not in store.pools:
            text = f"its pool {subnet.pool} is not there: its addresses may be given to another"
            yield _network_fault(name, text, by_hand)
            continue
        _, pool = store.pools[subnet.pool]
        if (pool.subnet, pool.space) != (subnet.cidr.cidr, subnet.space):
            text = (
                f"it has subnet {subnet.cidr} of space {subnet.space}, its pool {pool.subnet} of "
                f"{pool.space}"
            )
            yield _network_fault(name, text, by_hand)
        elif (
            network.mode.has_gateway
            and subnet.gateway is not None
            and store.holder(pool.id, subnet.gateway) is None
        ):
            text = f"its gateway {subnet.gateway} is not held, so a container may get it"
            yield _network_fault(name, text, by_hand)


def _endpoints(store: _Store) -> Iterator[Fault]:
    serials: dict[int, str] = {}
    for name, network_id, text in store.rows(
        "SELECT id, network, record FROM endpoint ORDER BY id"
    ):
        try:
            endpoint = records.decode(Endpoint, text)
        except UnreadableError as error:
            yield _endpoint_fault(name, f"its record cannot be read ({error})")
            continue
        if (endpoint.id, endpoint.network) != (name, network_id):
            text = f"its record is of endpoint {endpoint.id[:12]} of {_of(endpoint.network)}"
            yield _endpoint_fault(name, text)
            continue
        network = store.networks.get(NetworkId(network_id))
        if endpoint.ended or network is None or network.ended or not network.made:
            continue
        for serial in endpoint.leases:
            other = serials.setdefault(serial, name)
            if other != name:
                text = f"its address is held by endpoint {other[:12]} as well"
                yield _endpoint_fault(name, text, _container(name))
        yield from _addresses(store, network, endpoint)


def _addresses(store: _Store, network: Network, endpoint: Endpoint) -> Iterator[Fault]:
    found = set()
    for address in endpoint.addresses:
        subnet = next((each for each in network.subnets if _contains(each.cidr, address)), None)
        if subnet is None or subnet.pool is None or subnet.pool not in store.pools:
            continue  # another IPAM's, or the network's fault
        lease = store.holder(subnet.pool, address.ip)
        if lease is None:
            text = f"its address {address.ip} is not held: another container may get it"
        elif lease[0] not in endpoint.leases or lease[1] != "endpoint":
            found.add(lease[0])
            text = f"its address {address.ip} is held by another ({lease[1]}, lease {lease[0]})"
        else:
            found.add(lease[0])
            continue
        yield _endpoint_fault(endpoint.id, text, _container(endpoint.id))
    for serial in endpoint.leases:
        if serial not in found and _elsewhere(store, serial):
            text = f"its lease {serial} is of another address than its own"
            yield _endpoint_fault(endpoint.id, text, _container(endpoint.id))


def _elsewhere(store: _Store, serial: int) -> bool:
    if not 0 < serial < EPOCHS << SERIAL_BITS:
        return False
    return bool(list(store.rows("SELECT 1 FROM ipam_lease WHERE serial = ?", serial)))


def _contains(subnet: IPNetwork, address: IPNetwork) -> bool:
    return bool(address.ip in subnet)


def _network_fault(network: str | None, text: str, remedy: str = _RESTORE) -> Fault:
    return Fault(subject="networks", text=f"{_of(network)}: {text}", remedy=remedy)


def _endpoint_fault(endpoint: str | EndpointId, text: str, remedy: str = _RESTORE) -> Fault:
    return Fault(subject="endpoints", text=f"endpoint {endpoint[:12]}: {text}", remedy=remedy)


def _of(network: str | None) -> str:
    return "no network" if network is None else f"network {network[:12]}"


def _container(endpoint: str) -> str:
    return f"restart its container, which gets a new address (ovsnet endpoint show {endpoint[:12]})"


_CHECKS: Sequence[Callable[[_Store], Iterator[Fault]]] = (
    *(_pools, _overlaps, _held_and_remembered, _reservations),
    *(_networks, _bindings, _endpoints),
)
"""In this order: later ones look at what earlier ones have read."""
