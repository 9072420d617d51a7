"""The sentences for what is refused: what, why, and what to type instead."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from netaddr import IPAddress, IPNetwork

from ipam.errors import AddressError, ExhaustedError, OverlapError, UnknownPoolError
from ipam.model import Lease, LeaseKind, Occupied, Pool, PoolId, Usage
from ipam.store import Holders

_PLURALS = {
    LeaseKind.ENDPOINT: ("container", "containers"),
    LeaseKind.GATEWAY: ("gateway", "gateways"),
    LeaseKind.AUX: ("--aux-address", "--aux-addresses"),
}


def unknown_pool(pool: PoolId) -> UnknownPoolError:
    """Nobody has such a pool."""
    return UnknownPoolError(
        f"pool {pool[:80]!r} is not known here, or it was released; "
        "remove its network with `docker network rm` and create it again"
    )


def overlap(subnet: IPNetwork, other: Pool, *, leaving: bool) -> OverlapError:
    """The subnet meets another pool of its space."""
    if leaving:
        return OverlapError(
            f"subnet {subnet} overlaps {other.subnet}, which is just being released; try again"
        )
    return OverlapError(
        f"subnet {subnet} overlaps {other.subnet} in address space {other.space} "
        f"(pool {other.id}, since {_time(other.created)}); choose another --subnet, or, for a "
        "network that is isolated from the other one, another space with --ipam-opt ipam.space=NAME"
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
    flag = "--subnet"
    if not bases:
        return ExhaustedError(
            f"no default pools for IPv{family} are configured; name a subnet with {flag}, "
            "or add some to the configuration (`pools`)"
        )
    length = f" of length /{prefix}" if prefix is not None else ""
    in_the_way = [f"{each.network} ({each.why})" for each in blockers]
    shown, more = in_the_way[:4], len(in_the_way) - 4
    blocked = (
        f", and this host uses {', '.join(shown)}{f' and {more} more' if more > 0 else ''}"
        if shown
        else ""
    )
    return ExhaustedError(
        f"no free subnet{length} is left in the default pools {_list(bases)}: address space "
        f"{space} has {_number(pools, f'IPv{family} pool', f'IPv{family} pools')}{blocked}; "
        f"name a subnet with {flag}, remove networks that are not used (`docker network prune`), "
        "or add default pools to the configuration (`pools`)"
    )


def outside(address: IPAddress, pool: Pool) -> AddressError:
    """A wanted address that is none of the subnet."""
    return AddressError(
        f"address {address} is not in subnet {pool.subnet}; choose one from "
        f"{IPAddress(pool.subnet.first, pool.family)} to {IPAddress(pool.subnet.last, pool.family)}"
    )


def unusable(address: IPAddress, pool: Pool) -> AddressError:
    """The first or the last address of an IPv4 subnet."""
    what = "network" if int(address) == pool.subnet.first else "broadcast"
    return AddressError(
        f"address {address} is the {what} address of {pool.subnet}; choose one from "
        f"{IPAddress(pool.subnet.first + 1)} to {IPAddress(pool.subnet.last - 1)}"
    )


def taken(
    address: IPAddress, pool: Pool, *, wanted_as: LeaseKind, holder: Lease | None
) -> AddressError:
    """A wanted address that someone has."""
    if holder is None:
        return AddressError(
            f"address {address} of {pool.subnet} is just being given to someone or released; "
            "try again, or choose another one"
        )
    since = _time(holder.created)
    if holder.kind is LeaseKind.GATEWAY:
        chosen = "" if holder.wanted else ", chosen because no --gateway was named"
        advice = {
            LeaseKind.AUX: "leave this --aux-address out, or name another --gateway",
            LeaseKind.GATEWAY: "it needs no second request",
            LeaseKind.ENDPOINT: "choose another one",
        }[wanted_as]
        return AddressError(
            f"address {address} is the gateway of {pool.subnet} since {since}{chosen}; {advice}"
        )
    if holder.kind is LeaseKind.AUX:
        return AddressError(
            f"address {address} of {pool.subnet} is kept back as an --aux-address since {since}; "
            "choose another one"
        )
    who = f"container {holder.name}" if holder.name else "a container"
    return AddressError(
        f"address {address} of {pool.subnet} is held by {who} since {since}; "
        "choose another one, or remove that container first"
    )


def second_gateway(pool: Pool, holder: Lease | None) -> AddressError:
    """A pool has one gateway."""
    has = f"has the gateway {holder.address}" if holder else "is just being given a gateway"
    return AddressError(f"subnet {pool.subnet} {has}; it cannot have a second one")


def full(pool: Pool, usage: Usage, dynamic: int, holders: Holders) -> ExhaustedError:
    """No address is left for who names none.

    Args:
        dynamic: how many addresses there are for dynamic choice, held or not.
    """
    where = (
        f"range {pool.window} of subnet {pool.subnet}" if pool.window else f"subnet {pool.subnet}"
    )
    outside_window = max(0, usage.capacity - dynamic) if pool.window else 0
    advice = "choose one outside of the range with --ip" if outside_window else "remove containers"
    return ExhaustedError(
        f"{where} is full: {_number(dynamic, 'address', 'addresses')} for containers, "
        f"{usage.held} held in the subnet ({_holders(holders)}); {advice}, or create a network "
        "with a larger subnet"
    )


def _holders(holders: Holders) -> str:
    counts = [
        _number(holders.counts[kind], *_PLURALS[kind])
        for kind in LeaseKind
        if holders.counts.get(kind)
    ]
    if not holders.names:
        return ", ".join(counts)
    more = ", …" if holders.counts.get(LeaseKind.ENDPOINT, 0) > len(holders.names) else ""
    return f"{', '.join(counts)}: {', '.join(holders.names)}{more}"


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _list(networks: Iterable[IPNetwork]) -> str:
    return ", ".join(str(network) for network in networks)


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
