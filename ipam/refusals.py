"""The sentences for what is refused: what, why, and what to type instead."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from netaddr import IPAddress, IPNetwork

from ipam.errors import (
    AddressError,
    ExhaustedError,
    InvalidReservationError,
    LimitError,
    OverlapError,
    ReservedError,
    UnknownPoolError,
)
from ipam.model import Lease, LeaseKind, Occupied, Pool, PoolId, Reservation, Usage

_KEPT = "--aux-address, ovs.gateway or ovs.host_address"
_WHO = {
    LeaseKind.ENDPOINT: ("a container", "containers"),
    LeaseKind.GATEWAY: ("the gateway", "gateways"),
    LeaseKind.AUX: (_KEPT, _KEPT),
}


class Naming:
    """What is known of pools and holders beyond what the IPAM itself was told: nothing, here.

    Whoever knows more overrides it. Every answer is given at once.
    """

    def network(self, _pool: Pool, /) -> str:
        """Return the name of the network that has a pool; empty if it is not known."""
        return ""

    def auxiliary(self, _pool: Pool, /) -> Collection[IPAddress] | None:
        """Return the addresses that are kept without an endpoint; None: not known."""
        return None

    def container(self, _pool: Pool, _lease: Lease, /) -> str:
        """Return the name of the container that has a lease; empty if it is not known."""
        return ""

    def containers(self, _pool: Pool, /) -> Iterable[tuple[IPAddress, str]]:
        """Give addresses of a pool and the containers that have, or had, them."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """Who holds the addresses of a pool, in short."""

    counts: Mapping[LeaseKind, int]
    names: Sequence[str] = ()
    """A few of the containers'."""


def unknown_pool(pool: PoolId) -> UnknownPoolError:
    """Nobody has such a pool."""
    return UnknownPoolError(
        f"pool {pool[:80]!r} is not known here, or it was released; "
        "remove its network with `docker network rm` and create it again"
    )


def overlap(subnet: IPNetwork, other: Pool, *, leaving: bool, network: str = "") -> OverlapError:
    """The subnet meets another pool of its space, that of ``network`` if its name is known."""
    if leaving:
        return OverlapError(
            f"subnet {subnet} overlaps {other.subnet}, which is just being released; try again"
        )
    of = f"network {network}, " if network else ""
    return OverlapError(
        f"subnet {subnet} overlaps {other.subnet} in address space {other.space} ({of}pool "
        f"{other.id}, since {_time(other.created)}); choose another --subnet, or another space "
        "with --ipam-opt ipam.space=NAME if the networks never meet"
    )


def no_subnet_left(
    bases: Sequence[IPNetwork],
    *,
    family: int,
    prefix: int | None,
    space: str,
    pools: int,
    blockers: Iterable[Occupied],
) -> ExhaustedError:
    """The default pools are used up."""
    if not bases:
        return ExhaustedError(
            f"no default pools for IPv{family} are configured; name a subnet with --subnet, "
            "or add some to the configuration (`pools`)"
        )
    length = f" of length /{prefix}" if prefix is not None else ""
    in_the_way = [f"{each.network} ({each.why})" for each in blockers]
    shown, more = in_the_way[:4], len(in_the_way) - 4
    blocked = (
        f", and in the way are {', '.join(shown)}{f' and {more} more' if more > 0 else ''}"
        if shown
        else ""
    )
    return ExhaustedError(
        f"no free subnet{length} is left in the default pools {_list(bases)}: address space "
        f"{space} has {_number(pools, f'IPv{family} pool', f'IPv{family} pools')}{blocked}; add "
        "--subnet, remove unused networks (`docker network prune`), or add `pools` to the "
        "configuration"
    )


def outside(address: IPAddress, pool: Pool) -> AddressError:
    """A wanted address that is none of the subnet."""
    return AddressError(
        f"address {address} is not in subnet {pool.subnet}; choose one from {_usable(pool)}"
    )


def unusable(address: IPAddress, pool: Pool) -> AddressError:
    """The first or the last address of an IPv4 subnet."""
    what = "network" if int(address) == pool.subnet.first else "broadcast"
    return AddressError(
        f"address {address} is the {what} address of {pool.subnet}; choose one from {_usable(pool)}"
    )


def _usable(pool: Pool) -> str:
    ends = pool.family == 4 and pool.subnet.prefixlen < 31
    first = IPAddress(pool.subnet.first + ends, pool.family)
    return f"{first} to {IPAddress(pool.subnet.last - ends, pool.family)}"


def taken(
    address: IPAddress,
    pool: Pool,
    *,
    wanted_as: LeaseKind,
    holder: Lease | None,
    container: str = "",
    auxiliary: bool | None = None,
) -> AddressError:
    """A wanted address that someone has.

    Args:
        address: the address.
        pool: its pool.
        wanted_as: what it was asked for as.
        holder: who has it; None: nobody for certain at this moment.
        container: the holder's name, where it is known from elsewhere.
        auxiliary: whether its network keeps it without an endpoint; None: not known.
    """
    if holder is None:
        return AddressError(
            f"address {address} of {pool.subnet} is just being given out or released; try again, "
            "or choose another one"
        )
    since = _time(holder.created)
    if holder.kind is LeaseKind.GATEWAY:
        chosen = "" if holder.wanted else ", chosen because no --gateway was named"
        advice = (
            "leave this --aux-address out, or name another --gateway"
            if wanted_as is LeaseKind.AUX
            else "choose another one"
        )
        return AddressError(
            f"address {address} is the gateway of {pool.subnet} since {since}{chosen}; {advice}"
        )
    if holder.kind is LeaseKind.AUX or auxiliary:
        what = "as an --aux-address" if auxiliary else f"for its network ({_KEPT})"
        return AddressError(
            f"address {address} of {pool.subnet} is kept back {what} since {since}; choose "
            "another one"
        )
    # An --aux-address looks like a container's --ip when it is asked for.
    unclear = holder.wanted and auxiliary is None
    unnamed = "a container or as an --aux-address" if unclear else "a container"
    name = holder.name or container
    who = f"container {name}" if name else unnamed
    return AddressError(
        f"address {address} of {pool.subnet} is held by {who} since {since}; "
        "choose another one, or remove that container first"
    )


def second_gateway(pool: Pool, holder: Lease | None) -> AddressError:
    """A pool has one gateway."""
    has = f"has the gateway {holder.address}" if holder else "is just being given a gateway"
    return AddressError(f"subnet {pool.subnet} {has}; it cannot have a second one")


def reserved(address: IPAddress, pool: Pool, keeper: Reservation) -> ReservedError:
    """A wanted address that is kept for another name."""
    return ReservedError(
        f"address {address} of {pool.subnet} is reserved for container {keeper.name} since "
        f"{_time(keeper.created)}; choose another one, or type `ovsnet ipam reserve --remove "
        f"{address}`"
    )


def reserved_already(wanted: Reservation, earlier: Reservation) -> ReservedError:
    """An address has one reservation."""
    return ReservedError(
        f"address {wanted.address} in address space {wanted.space} is reserved "
        f"{_for(earlier)} already; remove that first with `ovsnet ipam reserve --remove "
        f"{wanted.address}`, or choose another address"
    )


def named_already(wanted: Reservation, pool: Pool, address: IPAddress) -> ReservedError:
    """A name has one reservation in a pool."""
    return ReservedError(
        f"container {wanted.name} has {address} of {pool.subnet} reserved already; remove that "
        f"first with `ovsnet ipam reserve --remove {address}`"
    )


def reserved_gateway(wanted: Reservation, pool: Pool) -> InvalidReservationError:
    """The gateway's address is its own."""
    return InvalidReservationError(
        f"address {wanted.address} is the gateway of {pool.subnet}; reserve another one"
    )


def too_many_reservations(space: str, most: int) -> InvalidReservationError:
    """A space has a bounded number of them."""
    return InvalidReservationError(
        f"address space {space} would have more than {most} reservations; keep a range back with "
        "--ip-range or --ipam-opt ipam.exclude instead"
    )


def _for(keeper: Reservation) -> str:
    return (
        f"for container {keeper.name}"
        if keeper.name
        else "for containers that ask for it by address"
    )


def in_use(address: IPAddress, pool: Pool, mac: str) -> AddressError:
    """A wanted address that somebody on the segment has."""
    return AddressError(
        f"address {address} of {pool.subnet} is in use on the network's segment by {mac} "
        "(ipam.probe); choose another one, or find that machine"
    )


def all_in_use(pool: Pool, found: Mapping[IPAddress, str]) -> ExhaustedError:
    """The addresses that come next are all somebody's on the segment."""
    shown = ", ".join(f"{address} by {mac}" for address, mac in list(found.items())[:3])
    return ExhaustedError(
        f"the next {len(found)} free addresses of {pool.subnet} are in use on its segment "
        f"(ipam.probe): {shown}; try again for further ones, or keep that range back with "
        "--ip-range or --ipam-opt ipam.exclude"
    )


def limited(pool: Pool, holders: Holders) -> LimitError:
    """A pool holds as many addresses as it may."""
    return LimitError(
        f"subnet {pool.subnet} may hold {_number(pool.limit or 0, 'address', 'addresses')} at once "
        f"(ipam.limit): {_held_by(pool, holders)}; remove containers, or create the network with a "
        "larger ipam.limit"
    )


def space_full(space: str, most: int, one: str, many: str) -> LimitError:
    """A space holds as much as it may."""
    return LimitError(
        f"address space {space} holds {_number(most, one, many)} already, which is its limit; "
        "remove unused ones, or raise `limits` in the configuration"
    )


def full(
    pool: Pool,
    *,
    window: IPNetwork | None,
    addresses: int,
    holders: Holders,
    usage: Usage,
    first: IPAddress | None,
    rests_s: float,
) -> ExhaustedError:
    """No address is left for who names none.

    Args:
        pool: its subnet is what the holders are counted in.
        window: the range that is full; None: the whole subnet is.
        addresses: how many there are for such requests, held or not.
        holders: of the pool's addresses.
        usage: of the pool.
        first: the subnet's first address, if it is free and given only to who asks for it.
        rests_s: seconds until an address comes back by itself; 0: none does.
    """
    count = _number(addresses, "address", "addresses")
    if pool.excluded:
        count += " that are not excluded"
    if window is None:
        where, advice = f"subnet {pool.subnet} is full: of its {count}", "remove containers"
    else:
        where = f"range {window} of subnet {pool.subnet}, {count}, is full: in the subnet"
        advice = "name a free address outside of the range with --ip, remove containers"
    kept = f", {usage.reserved} reserved (`ovsnet ipam reserve`)" if usage.reserved else ""
    if first is not None:
        kept += f", {first} is left to a router"
        advice = f"type --ip {first} if there is none, {advice}"
    if usage.resting:
        kept += f", {usage.resting} not given again yet"
        advice = f"try again in {max(1, round(rests_s))} s, {advice}"
    return ExhaustedError(
        f"{where} {_held_by(pool, holders)}{kept}; {advice}, or create a network with a larger "
        "subnet"
    )


def _held_by(pool: Pool, holders: Holders) -> str:
    phrases: list[str] = []
    for kind, who in _WHO.items():
        if count := holders.counts.get(kind, 0):
            verb = "" if phrases else "is held " if count == 1 else "are held "
            names = _few(holders.names, count) if kind is LeaseKind.ENDPOINT else ""
            phrases.append(f"{count} {verb}by {who[count > 1]}{names}")
    listed = " and ".join(filter(None, (", ".join(phrases[:-1]), *phrases[-1:])))
    return f"{listed} (`ovsnet ipam leases {pool.subnet}`)"


def _few(names: Sequence[str], count: int) -> str:
    if not names:
        return ""
    more = count - len(names)
    return f" ({', '.join(names)}{f' and {more} more' if more > 0 else ''})"


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _list(networks: Iterable[IPNetwork]) -> str:
    return ", ".join(str(network) for network in networks)


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
