"""Pools and who holds their addresses, for people and for scripts. Pure.

The dataclasses are the admin socket's JSON, member by member.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from netaddr import IPAddress

from ipam.model import Lease, LeaseKind, Pool, Usage
from ovsdriver.admin import by_name
from ovsdriver.admin.views import LeaseUse, PoolUse
from ovsdriver.domain.records.model import Endpoint, Network, NetworkId
from ovsdriver.errors import ConflictError, UnknownObjectError
from ovsdriver.ports import EngineEndpoint, EngineSubnet, EngineView
from ovsdriver.service.forgotten.pool_claims import Claims

SETTLING_S = 60.0
"""Docker makes its endpoint moments after it took the address, and its network moments after it
took the subnet; as the collector, with a margin."""


def pool_use(
    pool: Pool,
    *,
    usage: Usage,
    gateway: Lease | None,
    network: Network | None,
    view: EngineView | None,
    claims: Claims | None,
    age_s: float,
) -> PoolUse:
    """Return how full a pool is, and whose it is.

    Args:
        pool: the pool.
        usage: how full it is.
        gateway: its gateway's lease.
        network: the one of ours that it is bound to.
        view: what Docker says; None if it does not answer.
        claims: the same, sorted.
        age_s: seconds since it was made.
    """
    of: str | None = None if network is None else network.id
    orphan: bool | None = False
    if network is None:
        orphan = None
        if claims is not None:
            claim = claims.certain(pool)
            of = None if claim is None else claim.network
            if claims.possible(pool):
                orphan = False
            elif age_s >= SETTLING_S:
                orphan = True
    return PoolUse(
        pool=pool,
        usage=usage,
        gateway=None if gateway is None else gateway.address,
        network=of,
        network_name="" if of is None or view is None else view.networks.get(NetworkId(of), ""),
        orphan=orphan,
    )


def holders(view: EngineView | None, claim: EngineSubnet | None) -> Mapping[object, EngineEndpoint]:
    """Return Docker's endpoints on the network of a pool that is none of ours, by address."""
    if view is None or claim is None:
        return {}
    there = (each for each in view.endpoints.values() if each.network == claim.network)
    return {address: each for each in there for address in each.addresses}


def auxiliary(
    network: Network | None, claim: EngineSubnet | None, view: EngineView | None
) -> Mapping[IPAddress, str]:
    """Return the addresses of a pool's network that are kept without an endpoint.

    RequestAddress does not tell an ``--aux-address`` from a container's ``--ip``; the network does.
    Docker knows their names.
    """
    if network is None:
        return {} if claim is None else claim.kept
    names = {
        address: name
        for subnet in (() if view is None else view.subnets)
        if subnet.network == network.id
        for address, name in subnet.kept.items()
    }
    kept = (address for subnet in network.subnets for address in subnet.auxiliary)
    return {address: names.get(address, "") for address in kept}


def lease_use(
    lease: Lease,
    endpoint: Endpoint | None,
    view: EngineView | None,
    listed: EngineEndpoint | None = None,
    kept: Mapping[IPAddress, str] = MappingProxyType({}),
) -> LeaseUse:
    """Return who holds an address.

    Args:
        lease: the lease.
        endpoint: the one of ours that has it.
        view: what Docker says; None if it does not answer.
        listed: on networks of other drivers, the endpoint in Docker with that address.
        kept: see :func:`auxiliary`.
    """
    if endpoint is not None:
        listed = None if view is None else view.endpoints.get(endpoint.id)
    has_it = endpoint or listed
    gateway = lease.kind is LeaseKind.GATEWAY
    auxiliary = has_it is None and not gateway and lease.address in kept
    return LeaseUse(
        lease=lease,
        endpoint=_id(has_it),
        container="" if listed is None else listed.container,
        auxiliary=auxiliary,
        auxiliary_name=kept[lease.address] if auxiliary else "",
    )


def _id(endpoint: Endpoint | EngineEndpoint | None) -> str | None:
    if endpoint is None:
        return None
    return endpoint.id if isinstance(endpoint, Endpoint) else endpoint.endpoint


def chosen(
    pools: Sequence[PoolUse], networks: Mapping[str, str], *, pool: str = "", network: str = ""
) -> Sequence[PoolUse]:
    """Return the pools that are meant, all of them if nothing is said.

    Args:
        pools: all there are.
        networks: ids of all networks that pools are of, with their names in Docker.
        pool: an id, or a subnet, which several spaces may have.
        network: a name, an id or the begin of one.

    Raises:
        UnknownObjectError: there is nothing such.
        ConflictError: several networks fit.
    """
    found = pools
    if pool:
        found = [each for each in found if pool in _names(each.pool)]
        if not found:
            raise UnknownObjectError(f"pool {pool!r} is not known here; {_LISTS_THEM}")
    if network:
        wanted = by_name.find(network, networks)
        found = [each for each in found if each.network == wanted]
        if not found:
            of_pool = f" pool {pool}" if pool else " pools of this IPAM"
            raise UnknownObjectError(f"network {network!r} has no{of_pool}; {_LISTS_THEM}")
    return found


def _names(pool: Pool) -> tuple[str, str]:
    return pool.id, str(pool.subnet)


def either(pools: Sequence[PoolUse], networks: Mapping[str, str], text: str) -> Sequence[PoolUse]:
    """Return the pools that ``text`` means, be it a pool's id, a subnet or a network.

    Raises:
        UnknownObjectError, ConflictError: as of :func:`chosen`.
    """
    if not text or any(text in _names(each.pool) for each in pools):
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
    lease = use.lease
    if lease.kind is LeaseKind.GATEWAY:
        return "the gateway"
    if lease.kind is LeaseKind.AUX or use.auxiliary:
        return f"--aux-address {use.auxiliary_name}".rstrip()
    on = f" on host {lease.host}" if lease.host else ""
    if use.container or lease.name:
        return f"container {use.container or lease.name}{on}"
    if use.endpoint is not None:
        return f"endpoint {use.endpoint[: by_name.SHOWN_DIGITS]}{on}"
    return f"nobody that is known here{on}"


def elsewhere(use: LeaseUse) -> str:
    """Return why an address of a segment that another host has is not released here."""
    lease = use.lease
    return (
        f"{lease.address} is held by {holder(use)}; remove the container there, or give all "
        f"addresses of a host that died back with `ovsnet host forget {lease.host}`"
    )


def refusal(
    use: LeaseUse,
    network: Network | None,
    endpoint: Endpoint | None,
    *,
    age_s: float,
    claim: EngineSubnet | None = None,
) -> str | None:
    """Return why an address may not be released behind its holder's back; None if it may.

    Args:
        use: the lease.
        network: the one of ours that its pool is bound to.
        endpoint: the one of ours that has the lease.
        age_s: seconds since it was given.
        claim: the subnet in Docker that has the pool, where no network of ours has it.
    """
    force = _FORCE
    address = use.lease.address
    if network is not None:
        of = network.id
    elif claim is not None:
        of = claim.network
    else:
        return (
            f"{address} is of a pool that no network of the driver ovsnet has, nor one for "
            "certain that Docker lists, so whether its holder still lives is not known here; see "
            f"`docker network inspect`, and remove the container or the network there{force}"
        )
    if network is not None and network.ended:
        return None
    if use.lease.kind is not LeaseKind.ENDPOINT or use.auxiliary:
        return (
            f"{address} is kept for network {of[: by_name.SHOWN_DIGITS]} "
            f"({holder(use)}); `docker network rm` releases it with its network{force}"
        )
    if use.endpoint is not None and not (endpoint is not None and endpoint.ended):
        return (
            f"{address} is held by {holder(use)} (endpoint "
            f"{use.endpoint[: by_name.SHOWN_DIGITS]}); remove the container, which releases it"
            f"{force}"
        )
    if age_s < SETTLING_S:
        return (
            f"{address} was given {max(age_s, 0):.0f} s ago and its container may just be "
            f"starting; try again in a minute{force}"
        )
    return None


def pool_refusal(
    use: PoolUse,
    network: Network | None,
    claims: Claims | None,
    *,
    view: EngineView | None,
    age_s: float,
) -> str | None:
    """Return why a pool may not be released behind its network's back; None if it may.

    Args:
        use: the pool as people see it.
        network: the one of ours that it is bound to.
        claims: what Docker says of pools; None if it does not answer.
        view: what Docker says; None if it does not answer.
        age_s: seconds since it was made.
    """
    pool = use.pool
    which = f"pool {pool.subnet} of space {pool.space}"
    if network is not None:
        short = network.id[: by_name.SHOWN_DIGITS]
        name = "" if view is None else view.networks.get(network.id, "")
        how = f"`docker network rm {by_name.typed(name, short)}`"
        if view is not None and network.id not in view.networks:
            how = f"Docker does not list that any more, so `ovsnet network rm {short}`"
        return f"{which} is that of network {name or short}; {how} releases it{_FORCE}"
    if claims is None or view is None:
        return (
            f"Docker does not answer, so nobody knows whether one of its networks has {which}; "
            f"start it and try again{_FORCE}"
        )
    claimants = claims.possible(pool)
    if claimants:
        claimant = claimants[0].network
        name = view.networks.get(claimant) or claimant[: by_name.SHOWN_DIGITS]
        return (
            f"{which} may be that of network {name}, which Docker still has; type "
            f"`docker network rm {by_name.typed(name, claimant)}`, which releases it{_FORCE}"
        )
    if age_s < SETTLING_S:
        return (
            f"{which} was made {max(age_s, 0):.0f} s ago and its network may just be coming; try "
            f"again in a minute{_FORCE}"
        )
    return None


_FORCE = "; if you are sure, add --force"
_LISTS_THEM = "`ovsnet ipam pools` lists those that are"
