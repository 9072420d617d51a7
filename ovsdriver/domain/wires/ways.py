"""Which routes a container has by routers on its network that are not this host. Pure.

What Docker is told at Join it puts there itself; what differs since then is put there by us, and
what is ours in a container is known by a mark in the route.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records.model import Endpoint, Network, Way

_EVERYWHERE = {4: IPNetwork("0.0.0.0/0"), 6: IPNetwork("::/0")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """Routes by routers of a container's link."""

    static: tuple[Way, ...] = ()
    gateways: tuple[IPAddress, ...] = ()
    """Of default routes, at most one of each family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayChange:
    """What is to be done to the routes of a link in a sandbox, any number of times."""

    put: tuple[Way, ...]
    """To be there: by whomever, or else by us. A default route is one to ``0.0.0.0/0`` or
    ``::/0``; ours is the last of several, so that Docker's choice among networks holds."""
    take: tuple[Way, ...]
    """Of what Docker was told, not to be there. Nor is what is marked ours and not in ``put``."""


def wanted(network: Network, endpoint: Endpoint) -> Ways:
    """Return what a container has of routers that are not this host, nor OVN's.

    A router needs no route by itself.
    """
    if network.segment.by_ovn:
        return Ways()
    own = {each.ip for each in endpoint.addresses}
    gateways = {each.version: network.gateway_of(each) for each in endpoint.addresses}
    static = []
    for route in endpoint.routes or network.routes:
        via = route.via or gateways.get(route.to.version)
        if via is not None and via not in own and route.to.version in gateways:
            static.append(Way(to=route.to, via=via))
    told = () if network.mode.has_gateway else gateways.values()
    return Ways(
        static=tuple(static),
        gateways=tuple(each for each in told if each is not None and each not in own),
    )


def change(network: Network, endpoint: Endpoint, *, starts: bool = False) -> WayChange | None:
    """Return what is to be done in a container's sandbox; None: nothing ever was.

    Args:
        network: the endpoint's.
        endpoint: its record, with what it was told at Join.
        starts: Docker may still be putting there what it was told, and gives up on a route that is
            there already. Once we were at work there, it is ours to put.
    """
    now = wanted(network, endpoint)
    told = _told_at_join(network, endpoint)
    if not (now.static or told.static or endpoint.own_ways or now.gateways != told.gateways):
        return None
    # A default route that Docker was told is Docker's to keep, unless we may have taken it.
    kept = () if endpoint.own_ways else told.gateways
    fresh = [each for each in now.gateways if each not in kept]
    static = now.static
    if starts and not endpoint.own_ways:
        static = tuple(each for each in static if each not in told.static)
    gone = [each for each in told.gateways if each not in now.gateways]
    return WayChange(
        put=(*static, *_defaults(fresh)),
        take=(*(each for each in told.static if each not in now.static), *_defaults(gone)),
    )


def settled(network: Network, endpoint: Endpoint) -> bool:
    """Whether Docker was told at Join all that a container is to have, and nothing else."""
    return not endpoint.own_ways and wanted(network, endpoint) == _told_at_join(network, endpoint)


def _told_at_join(network: Network, endpoint: Endpoint) -> Ways:
    if network.segment.by_ovn:
        return Ways()
    return Ways(static=endpoint.ways, gateways=endpoint.gateways)


def told(static: Iterable[Way], near: Collection[IPNetwork]) -> tuple[Way, ...]:
    """Return the routes that Docker can be told at Join.

    Not one that meets a subnet of another network: Docker gives a container no second way there,
    and would not start one that is on both, if it comes to the other one later.

    Args:
        static: what the container is to have.
        near: subnets of all other networks.
    """
    return tuple(each for each in static if not any(_meet(each.to, subnet) for subnet in near))


def meeting(change: WayChange, near: Collection[IPNetwork]) -> tuple[Way, ...]:
    """Return the routes of a change, but for default ones, that meet one of some subnets."""
    return tuple(
        each
        for each in change.put
        if each.to.prefixlen and any(_meet(each.to, subnet) for subnet in near)
    )


def _meet(one: IPNetwork, other: IPNetwork) -> bool:
    return bool(
        one.version == other.version and one.first <= other.last and other.first <= one.last
    )


def _defaults(gateways: Iterable[IPAddress]) -> tuple[Way, ...]:
    return tuple(Way(to=_EVERYWHERE[each.version], via=each) for each in gateways)
