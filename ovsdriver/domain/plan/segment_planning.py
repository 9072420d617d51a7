"""Networks over several hosts: what their segment has said, and what each may say itself. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.plan import planning
from ovsdriver.domain.plan.inputs import KnownPool
from ovsdriver.domain.records.model import Mode, Network, NetworkId, StaticRoute, Way
from ovsdriver.domain.records.options.port_options import ETHERNET_MTU, PortOptions, VlanTag
from ovsdriver.domain.records.requests import (
    NO_GATEWAY,
    EndpointOptions,
    NetworkOptions,
    NewNetwork,
)
from ovsdriver.domain.records.segments import (
    ENCAPSULATION,
    OvnSegment,
    Router,
    router_address,
    segment_of,
    space_of,
)
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError

MTU = ETHERNET_MTU - ENCAPSULATION
"""Bytes that a segment carries over an underlay of Ethernet's 1500."""

_SAID_ONCE = {
    True: frozenset({"port.mtu", "port.guard", "icc", "routes"}),
    False: frozenset({"port.vlan"}),
}
"""Options that hold on all hosts, by whether a segment is OVN's: its first network says them."""


def segment_meant(new: NewNetwork, pools: Sequence[KnownPool]) -> str | None:
    """Return the segment that a network is on; None: it ends on this host.

    Who says it to the IPAM alone is understood: by an IPAM driver that is a segment's, or if no
    other pool can be meant.

    Raises:
        InvalidOptionError: it is said, and the addresses are not the segment's.
    """
    fitting = [
        {segment_of(pool.space) for pool in pools if pool.subnet == each.cidr.cidr}
        for each in new.subnets
    ]
    wanted = new.options.segment
    if wanted is None:
        named = {segment_of(each.space) for each in new.subnets}
        if len(named) == 1 and named != {None}:
            return named.pop()
        meant = fitting[0] if fitting else set()
        same = len(meant) == 1 and all(each == meant for each in fitting)
        return next(iter(meant)) if same else None
    if not fitting or not all(wanted in each for each in fitting):
        raise InvalidOptionError(
            f"ovs.segment={wanted}: the network's addresses are not the segment's; "
            f"add --ipam-driver ovsipam --ipam-opt ipam.segment={wanted}"
        )
    return wanted


def on_wire(options: NetworkOptions) -> bool:
    """Whether a network over several hosts is on a bridge of its host's, and not on OVN's."""
    return bool(options.uplink or options.bridge)


def settled(
    new: NewNetwork,
    segment: str,
    said: Mapping[str, str] | None,
    pools: Sequence[KnownPool],
) -> NewNetwork:
    """Return a new network on ``segment`` as ``planning.plan`` takes it.

    Args:
        new: as it is typed.
        segment: its name.
        said: by the segment's first network; None: this is it.
        pools: that wait for a network.

    Raises:
        InvalidOptionError: it asks for what a segment does not have.
        ConflictError: the first network has said something else.
    """
    wire = on_wire(new.options)
    if not wire:
        refuse_unfit(new.options)
    new = _inherited(new, segment, said) if said is not None else new
    if wire and new.options.router is not None:
        raise InvalidOptionError(
            f"ovs.router={new.options.router}: OVN's routers do not reach a VLAN of a wire; name "
            "the router that is on it with --gateway"
        )
    if not wire:
        _refuse_unled(new.options.routes, new.options.router)
    new = replace(
        new,
        options=replace(
            new.options,
            gateways=replace(
                new.options.gateways, addresses=_gateways(new, segment, said or {}, pools)
            ),
        ),
    )
    options = replace(
        new.options if wire else as_planned(new.options, internal=new.internal),
        segment=segment,
        space=new.options.space or space_of(segment),
    )
    return replace(new, options=options)


def as_planned(options: NetworkOptions, *, internal: bool) -> NetworkOptions:
    """Return the options of a network on a segment with what holds there if nothing is said."""
    return replace(
        options,
        mode=Mode.ISOLATED if internal else Mode.GWBRIDGE,
        port=options.port | PortOptions(mtu=MTU, guard=True),
    )


def common(network: Network) -> Mapping[str, str]:
    """Return what a segment's first network says for those of all hosts, by options' names."""
    tag, router = network.segment.tag, network.segment.router
    gateways = [str(each.gateway) for each in network.subnets if each.gateway is not None]
    if tag is not None:
        said = {"vlan": _tag_text(tag)}
    else:
        said = {"mtu": str(network.mtu), "guard": _flag_text(bool(network.port.guard))}
        if not network.icc:
            said["icc"] = "false"
    if router is not None:
        gateways = [str(each.ip) for each in router.gateways]
        said["router"] = router.name
        if router.routes:
            said["routes"] = _routes_text(router.routes)
    return said | ({"gateway": " ".join(gateways)} if gateways else {})


def _inherited(new: NewNetwork, segment: str, said: Mapping[str, str]) -> NewNetwork:
    """Return a further network with what the segment's first one has said."""
    if ("vlan" in said) is not on_wire(new.options):
        raise ConflictError(
            f"segment {segment} is VLAN {said['vlan']} of a wire on all hosts; name this host's "
            "NIC with -o ovs.uplink=NIC, or a bridge with -o ovs.bridge=NAME"
            if "vlan" in said
            else f"segment {segment} is OVN's on all hosts; leave ovs.uplink and ovs.bridge out"
        )
    port = new.options.port
    own = (
        {"vlan": None if port.vlan is None else _tag_text(port.vlan)}
        if "vlan" in said
        else {
            "mtu": None if port.mtu is None else str(port.mtu),
            "guard": None if port.guard is None else _flag_text(port.guard),
            "icc": None if new.options.icc is None else _flag_text(new.options.icc),
            "router": new.options.router,
            "routes": _routes_text(each.to for each in new.options.routes) or None,
        }
    )
    said = said if "vlan" in said else {"icc": "true", **said}
    for name, text in own.items():
        if text is not None and text != said.get(name):
            has = f"ovs.{name}={said[name]}" if name in said else f"no ovs.{name}"
            raise ConflictError(
                f"ovs.{name}={text}: segment {segment} has {has} on all hosts; leave it out"
            )
    settled = PortOptions(
        mtu=int(said["mtu"]) if "mtu" in said else None,
        guard=said["guard"] == "true" if "guard" in said else None,
        vlan=_tag(said["vlan"]) if "vlan" in said else None,
    )
    options = replace(
        new.options,
        port=settled | port,
        icc=said["icc"] == "true" if "icc" in said else new.options.icc,
        router=said.get("router"),
        routes=(
            tuple(StaticRoute(to=IPNetwork(each)) for each in said.get("routes", "").split())
            if "vlan" not in said
            else new.options.routes
        ),
    )
    return replace(new, options=options)


def _gateways(
    new: NewNetwork, segment: str, said: Mapping[str, str], pools: Sequence[KnownPool]
) -> tuple[IPAddress, ...]:
    """Return the addresses of routers, of each family that which was said first."""
    subnets = [each.cidr.cidr for each in new.subnets]
    typed = {each.version: each for each in new.options.gateways.addresses}
    for pool in pools:
        if pool.gateway_typed and pool.gateway is not None and pool.subnet in subnets:
            typed.setdefault(pool.gateway.version, pool.gateway)
    if new.internal and new.options.router is None:
        for gateway in typed.values():
            raise InvalidOptionError(
                f"gateway {gateway}: an internal network has no gateway; leave it out, or leave "
                "--internal out"
            )
        return ()
    first = {each.version: each for each in map(IPAddress, said.get("gateway", "").split())}
    if "router" in said:  # on a family that came later, hosts agree without a word
        first = {each.version: router_address(each) for each in subnets} | first
    for family, gateway in typed.items():
        if gateway != first.get(family, gateway):
            raise ConflictError(
                f"gateway {gateway}: segment {segment} has {first[family]} on all hosts; "
                "leave it out"
            )
    found = {**typed, **first}
    families = {each.version for each in subnets}
    return tuple(each for family, each in sorted(found.items()) if family in families)


def router(new: NewNetwork) -> Router | None:
    """Return the router that a network, as it is settled, is on by OVN; None: on none."""
    name = new.options.router
    if name is None:
        return None
    said = {each.version: each for each in new.options.gateways.addresses}
    gateways = [
        IPNetwork(f"{said.get(subnet.version, router_address(subnet))}/{subnet.prefixlen}")
        for subnet in (each.cidr.cidr for each in new.subnets)
    ]
    routes = tuple(each.to for each in new.options.routes)
    return Router(name=name, gateways=tuple(gateways), routes=routes)


def of_router(
    new: NewNetwork, pools: Sequence[KnownPool]
) -> tuple[NewNetwork, Sequence[KnownPool]]:
    """Return both as OVN's segments have them: a router's addresses are nobody's way out."""
    if new.options.router is not None:
        pools = [replace(each, gateway_typed=False) for each in pools]
    return replace(new, options=replace(new.options, gateways=NO_GATEWAY, routes=())), pools


def ways(segment: OvnSegment, others: Iterable[tuple[str, Sequence[IPNetwork]]]) -> Sequence[Way]:
    """Return what containers of a segment reach by its router.

    Args:
        segment: theirs.
        others: all segments on the router with their subnets, by name.
    """
    if segment.router is None:
        return ()
    beyond = [each for name, subnets in others if name != segment.segment for each in subnets]
    via = {each.version: each for each in segment.router.gateways}
    return [
        Way(to=each, via=via[each.version].ip)
        for each in dict.fromkeys((*beyond, *segment.router.routes))
        if each.version in via and each != via[each.version].cidr
    ]


def refuse_meeting(plan: Network, others: Iterable[tuple[str, Sequence[IPNetwork]]]) -> None:
    """Refuse a subnet that another segment on the router has; ConflictError. Args as ``ways``."""
    for name, subnets in others:
        for theirs in subnets if name != plan.over_hosts else ():
            for own in plan.subnets:
                if planning.overlap(own.cidr, theirs):
                    raise ConflictError(
                        f"subnet {own.cidr} meets {theirs} of segment {name}, which is on the same "
                        "router; choose another --subnet, or another ovs.router"
                    )


def refuse_router(options: NetworkOptions) -> None:
    """Refuse a router of OVN's on a network that is on no segment; InvalidOptionError."""
    if options.router is not None:
        raise InvalidOptionError(
            "ovs.router is for segments; add -o ovs.segment=NAME --ipam-opt ipam.segment=NAME, or "
            "leave it out"
        )


def _refuse_unled(routes: Iterable[StaticRoute], router: str | None) -> None:
    for each in routes:
        if each.via is not None:
            raise InvalidOptionError(
                f"ovs.routes={each.to} via {each.via}: containers of a segment reach subnets by "
                "its router; leave out what begins with via"
            )
        if router is None:
            raise InvalidOptionError(
                "ovs.routes: no router leads there; name one with -o ovs.router=NAME"
            )


def _flag_text(value: bool) -> str:
    return "true" if value else "false"


def _routes_text(routes: Iterable[IPNetwork]) -> str:
    return " ".join(map(str, routes))


def _tag_text(tag: VlanTag) -> str:
    return str(tag or "none")


def _tag(text: str) -> VlanTag:
    return VlanTag(0 if text == "none" else int(text))


def refuse_unfit_plan(plan: Network, segment: str) -> None:
    """Refuse a network over several hosts that would not be one.

    Raises:
        InvalidOptionError: every host would hold its gateway, nobody leads it to other hosts, or
            addresses are to be asked for where OVN answers for all.
    """
    held = next((each for each in plan.modes if each.has_gateway), None)
    if held is not None:
        raise InvalidOptionError(
            f"ovs.mode={held} on segment {segment}: every host would hold its gateway; use "
            "-o ovs.mode=flat, and --gateway for a router on the wire"
        )
    if not plan.segment.outside:
        raise InvalidOptionError(
            f"segment {segment}: bridge {plan.segment.bridge} leads to no wire; name this host's "
            "NIC with -o ovs.uplink=NIC"
        )
    if plan.segment.by_ovn and not plan.icc and not plan.port.guard:
        raise InvalidOptionError(
            f"ovs.icc=false on segment {segment}: OVN tells its containers by the MACs that "
            "ovs.guard holds them to; leave ovs.guard=false out"
        )
    if plan.probe and plan.segment.tag is None:
        raise InvalidOptionError(
            f"ipam.probe=true: OVN answers for every address of segment {segment}; leave it out"
        )


def warnings(network: Network) -> Sequence[str]:
    """Return what a network over several hosts does not have and people may count on."""
    segment = network.over_hosts
    if segment is None or (
        network.segment.has_names and any(each.family == 4 for each in network.subnets)
    ):
        return ()
    why = "has no IPv4 subnet" if network.segment.has_names else "is a VLAN of the wire"
    return [
        f"segment {segment} {why}: its containers are found by name on their own host only; use "
        "addresses between hosts"
    ]


def refuse_unfit(options: NetworkOptions | EndpointOptions) -> None:
    """Refuse options that do nothing on a segment; InvalidOptionError."""
    if options.off_segment:
        raise InvalidOptionError(options.off_segment)


def refuse_change(network: Network, fields: Collection[str]) -> None:
    """Refuse to change for one host what a segment has on all of them; UnsupportedError."""
    segment = network.over_hosts
    if segment is not None and _SAID_ONCE[network.segment.tag is None] & set(fields):
        what = (
            "ovs.mtu, ovs.guard, ovs.routes and ovs.icc hold"
            if network.segment.tag is None
            else "ovs.vlan holds"
        )
        raise UnsupportedError(
            f"segment {segment}: {what} on all its hosts; make another segment with others"
        )


def refuse_second(new: NetworkId, segment: str, networks: Iterable[Network]) -> None:
    """Refuse a further network of this host on a segment; ConflictError."""
    for each in networks:
        if each.over_hosts == segment and each.id != new and not each.ended:
            raise ConflictError(
                f"segment {segment}: network {each.id[:12]} of this host is on it already; connect "
                "the containers to that one"
            )


def refuse_without_fleet(segment: str) -> NoReturn:
    """Refuse a segment on a host that is in no fleet; UnsupportedError always."""
    raise UnsupportedError(
        f"segment {segment}: this host is in no fleet; name the fleet's servers with "
        "ovn_northbound in /etc/ovsnet/ovsnet.toml"
    )
