"""Addresses that are kept for someone, and what a list of them would change. Pure.

The dataclasses are the admin socket's JSON, member by member.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from netaddr import IPAddress

from ipam.model import Reservation
from ovsdriver.admin.addresses.report import holder
from ovsdriver.admin.views import ChangedReservation, Changes, LeaseUse, PoolUse, Reserved
from ovsdriver.domain.records.segments import segment_of
from ovsdriver.errors import ConflictError, UnknownObjectError, UnsupportedError

Key = tuple[str, IPAddress]
"""Space and address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done so that a list holds."""

    put: tuple[Reservation, ...]
    places: tuple[int, ...]
    """Of each in ``put``: where it stands in the list."""
    drop: tuple[Key, ...]
    """Those that end, and, of those that get another name, the earlier ones."""
    changes: Changes


def plan(
    there: Sequence[Reservation],
    wanted: Sequence[Reservation],
    *,
    prune: Iterable[str] | None,
    rename: bool,
    dry_run: bool,
    now: float,
) -> Plan:
    """Return how to get from ``there`` to ``wanted``.

    Args:
        there: all reservations.
        wanted: the list.
        prune: spaces whose further reservations end; None: of every space.
        rename: an address may be put aside for another name than it is.
        dry_run: said in the answer.
        now: seconds since the epoch; when those of ``wanted`` are made that are not there.
    """
    earlier = {(each.space, each.address): each for each in there}
    listed = {(each.space, each.address) for each in wanted}
    spaces = None if prune is None else frozenset(prune)
    removed = [
        each
        for key, each in earlier.items()
        if key not in listed and (spaces is None or each.space in spaces)
    ]
    put: list[tuple[int, Reservation]] = []
    drop = [(each.space, each.address) for each in removed]
    added: list[Reservation] = []
    changed: list[ChangedReservation] = []
    for index, each in enumerate(wanted):
        key = (each.space, each.address)
        before = earlier.get(key)
        if before is not None and before.name == each.name:
            if before.note == each.note:
                continue
            after = replace(each, created=before.created)
        else:
            after = replace(each, created=now)
            if before is not None and rename:
                drop.append(key)
        put.append((index, after))
        if before is None:
            added.append(after)
        else:
            changed.append(ChangedReservation(before=before, after=after))
    return Plan(
        put=tuple(each for _, each in put),
        places=tuple(index for index, _ in put),
        drop=tuple(drop),
        changes=Changes(
            added=tuple(added),
            changed=tuple(changed),
            removed=tuple(removed),
            same=len(wanted) - len(put),
            dry_run=dry_run,
        ),
    )


class PoolIndex:
    """Finds the pool of an address among thousands."""

    def __init__(self, pools: Iterable[PoolUse]) -> None:
        """Sort the pools; those of one space do not overlap."""
        sorted_: dict[tuple[str, int], list[tuple[int, int, PoolUse]]] = {}
        for pool in pools:
            subnet = pool.pool.subnet
            of_space = sorted_.setdefault((pool.pool.space, pool.pool.family), [])
            of_space.append((int(subnet.first), int(subnet.last), pool))
        for of_space in sorted_.values():
            of_space.sort(key=_first)
        self._sorted = sorted_

    def pool(self, space: str, address: IPAddress) -> PoolUse | None:
        """Return the pool of a space that has an address."""
        of_space = self._sorted.get((space, int(address.version)), [])
        place = bisect_right(of_space, int(address), key=_first) - 1
        if place < 0 or int(address) > of_space[place][1]:
            return None
        return of_space[place][2]

    def having(self, address: IPAddress) -> Sequence[PoolUse]:
        """Return the pools of all spaces that have an address."""
        spaces = sorted({space for space, _ in self._sorted})
        found = (self.pool(space, address) for space in spaces)
        return [each for each in found if each is not None]


def _first(entry: tuple[int, int, PoolUse]) -> int:
    return entry[0]


def located(
    reservations: Iterable[Reservation], pools: Sequence[PoolUse]
) -> list[tuple[Reservation, PoolUse | None]]:
    """Return every reservation with the pool that has its address now."""
    index = PoolIndex(pools)
    return [(each, index.pool(each.space, each.address)) for each in reservations]


def reserved(
    reservation: Reservation, pool: PoolUse | None, held: Mapping[IPAddress, LeaseUse]
) -> Reserved:
    """Return a reservation, where it is and who has the address now."""
    lease = None if pool is None else held.get(reservation.address)
    return Reserved(
        reservation=reservation,
        pool=None if pool is None else pool.pool.id,
        subnet=None if pool is None else pool.pool.subnet,
        network=None if pool is None else pool.network,
        network_name="" if pool is None else pool.network_name,
        holder="" if lease is None else holder(lease),
        held_since=None if lease is None else lease.lease.created,
    )


def reservable(pools: Sequence[PoolUse]) -> Sequence[PoolUse]:
    """Return the pools of this host alone.

    Raises:
        UnsupportedError: there are others only, of segments.
    """
    alone = [each for each in pools if segment_of(each.pool.space) is None]
    if pools and not alone:
        raise UnsupportedError(
            f"{pools[0].pool.subnet} is of segment {segment_of(pools[0].pool.space)}, and its "
            "addresses are not kept for containers; start the container with --ip ADDRESS"
        )
    return alone


def only_space(address: IPAddress, spaces: Iterable[str], *, what: str) -> str:
    """Return the one space of ``spaces``.

    Args:
        address: what it is about.
        spaces: at least one.
        what: the begin of the refusal, ``10.0.0.5 is …``.

    Raises:
        ConflictError: there are several.
    """
    found = sorted(set(spaces))
    if len(found) > 1:
        raise ConflictError(
            f"{address} is {what} in several spaces: {', '.join(found)}; say which one with "
            "--space NAME or --network NAME"
        )
    return found[0]


def pool_to_choose_from(pools: Sequence[PoolUse], *, network: str) -> PoolUse:
    """Return the pool whose lowest free address is meant: of a network, the first IPv4 one.

    Raises:
        UnknownObjectError: there is no pool.
        ConflictError: there are several, and no network that has them all.
    """
    if not pools:
        raise UnknownObjectError("there is no such pool; `ovsnet ipam pools` lists them")
    if network:
        return min(pools, key=lambda each: each.pool.family)
    if len(pools) > 1:
        some = ", ".join(f"{each.pool.subnet} of space {each.pool.space}" for each in pools[:5])
        more = f" and {len(pools) - 5} more" if len(pools) > 5 else ""
        raise ConflictError(
            f"several pools fit: {some}{more}; say which one with --network NAME or --pool POOL"
        )
    return pools[0]
