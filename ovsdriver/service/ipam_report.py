"""Pools and who holds their addresses, for people and for scripts. Pure.

The dataclasses are the admin socket's JSON, member by member.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ipam.model import Lease, LeaseKind, Pool, Usage
from ovsdriver.domain.model import Endpoint, Network
from ovsdriver.errors import ConflictError, UnknownObjectError
from ovsdriver.ports import EngineView
from ovsdriver.service import lookup

SETTLING_S = 60.0
"""Docker makes its endpoint moments after it took the address; as the collector, with a margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """A pool and how full it is."""

    id: str
    space: str
    subnet: str
    window: str | None
    automatic: bool
    """Chosen by us, not typed."""
    created: float
    """Seconds since the epoch."""
    held: int
    capacity: int
    """Usable addresses of the whole subnet."""
    free: int
    """Left for whoever names no address."""
    gateway: str | None
    network: str | None
    """Id of the network of ours that it is bound to."""
    network_name: str
    """Docker's; empty if it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseUse:
    """A held address and its holder."""

    address: str
    kind: str
    wanted: bool
    """Asked for by address."""
    name: str
    """The container's, as Docker told it when the address was asked for."""
    serial: int
    created: float
    """Seconds since the epoch."""
    endpoint: str | None
    """Id of the endpoint of ours that has it."""
    container: str
    """That endpoint's container as Docker tells it now; empty if it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePage:
    """A piece of a pool's leases, by ascending address."""

    leases: tuple[LeaseUse, ...]
    next: str | None
    """Ask on after this address; None: these were the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """An address that was given back by hand."""

    address: str
    pool: str
    holder: str
    """Who had it, in words."""


def pool_use(
    pool: Pool,
    *,
    usage: Usage,
    gateway: Lease | None,
    network: Network | None,
    view: EngineView | None,
) -> PoolUse:
    """Return how full a pool is, and whose it is."""
    return PoolUse(
        id=pool.id,
        space=pool.space,
        subnet=str(pool.subnet),
        window=None if pool.window is None else str(pool.window),
        automatic=pool.automatic,
        created=pool.created,
        held=usage.held,
        capacity=usage.capacity,
        free=usage.free,
        gateway=None if gateway is None else str(gateway.address),
        network=None if network is None else network.id,
        network_name="" if network is None or view is None else view.networks.get(network.id, ""),
    )


def lease_use(lease: Lease, endpoint: Endpoint | None, view: EngineView | None) -> LeaseUse:
    """Return who holds an address."""
    listed = None if endpoint is None or view is None else view.endpoints.get(endpoint.id)
    return LeaseUse(
        address=str(lease.address),
        kind=lease.kind.value,
        wanted=lease.wanted,
        name=lease.name,
        serial=lease.serial,
        created=lease.created,
        endpoint=None if endpoint is None else endpoint.id,
        container="" if listed is None else listed.container,
    )


def chosen(
    pools: Sequence[PoolUse], networks: Mapping[str, str], *, pool: str = "", network: str = ""
) -> Sequence[PoolUse]:
    """Return the pools that are meant, all of them if nothing is said.

    Args:
        pools: all there are.
        networks: ids of all networks, with their names in Docker.
        pool: an id, or a subnet, which several spaces may have.
        network: a name, an id or the begin of one.

    Raises:
        UnknownObjectError: there is nothing such.
        ConflictError: several networks fit.
    """
    found = pools
    if pool:
        found = [each for each in found if pool in (each.id, each.subnet)]
        if not found:
            raise UnknownObjectError(f"pool {pool!r} is not known here; {_LISTS_THEM}")
    if network:
        wanted = lookup.find(network, networks)
        found = [each for each in found if each.network == wanted]
        if not found:
            of_pool = f" pool {pool}" if pool else " pools of this IPAM"
            raise UnknownObjectError(f"network {network!r} has no{of_pool}; {_LISTS_THEM}")
    return found


def either(pools: Sequence[PoolUse], networks: Mapping[str, str], text: str) -> Sequence[PoolUse]:
    """Return the pools that ``text`` means, be it a pool's id, a subnet or a network.

    Raises:
        UnknownObjectError, ConflictError: as of :func:`chosen`.
    """
    if not text or any(text in (each.id, each.subnet) for each in pools):
        return chosen(pools, networks, pool=text)
    try:
        return chosen(pools, networks, network=text)
    except UnknownObjectError as error:
        raise UnknownObjectError(
            f"{text!r} is neither a pool nor a network with pools here; {_LISTS_THEM}"
        ) from error


def only(held: Sequence[tuple[Pool, Lease]], address: object, looked_at: Sequence[str]) -> Lease:
    """Return the one lease of ``address`` that is meant.

    Raises:
        UnknownObjectError: nobody holds it.
        ConflictError: it is held in several pools.
    """
    if not looked_at:
        raise UnknownObjectError(f"no pool here has the address {address}; {_LISTS_THEM}")
    if not held:
        raise UnknownObjectError(
            f"nobody holds {address} of {', '.join(looked_at)}; there is nothing to release"
        )
    if len(held) > 1:
        raise ConflictError(
            f"{address} is held in several pools: {', '.join(pool.id for pool, _ in held)}; "
            "say which one with --pool ID"
        )
    return held[0][1]


def holder(use: LeaseUse) -> str:
    """Return who holds an address, in words."""
    if use.kind == LeaseKind.GATEWAY:
        return "the gateway"
    if use.kind == LeaseKind.AUX:
        return "--aux-address"
    if use.container or use.name:
        return f"container {use.container or use.name}"
    if use.endpoint is not None:
        return f"endpoint {use.endpoint[: lookup.SHOWN_DIGITS]}"
    return "nobody that is known here"


def refusal(
    use: LeaseUse, network: Network | None, endpoint: Endpoint | None, *, age_s: float
) -> str | None:
    """Return why an address may not be released behind its holder's back; None if it may.

    Args:
        use: the lease.
        network: the one that its pool is bound to.
        endpoint: the one that has the lease.
        age_s: seconds since it was given.
    """
    force = "; if you are sure, add --force"
    if network is None:
        return (
            f"{use.address} is of a pool that no network of the driver ovsnet has, so whether its "
            "holder still lives is not known here; see `docker network inspect`, and remove the "
            f"container or the network there{force}"
        )
    if network.ended:
        return None
    if use.kind != LeaseKind.ENDPOINT:
        return (
            f"{use.address} is kept for network {network.id[: lookup.SHOWN_DIGITS]} "
            f"({holder(use)}); `docker network rm` releases it with its network{force}"
        )
    if endpoint is not None and not endpoint.ended:
        return (
            f"{use.address} is held by {holder(use)} (endpoint "
            f"{endpoint.id[: lookup.SHOWN_DIGITS]}); remove the container, which releases it{force}"
        )
    if age_s < SETTLING_S:
        return (
            f"{use.address} was given {max(age_s, 0):.0f} s ago and its container may just be "
            f"starting; try again in a minute{force}"
        )
    return None


_LISTS_THEM = "`ovsnet ipam pools` lists those that are"
