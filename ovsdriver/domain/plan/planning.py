"""From what the user typed, and a segment, to a network record: mode, subnets, gateways. Pure.

Everything that can be refused about a new network is refused here, or where its segment is chosen,
before anything is made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.plan import access_planning, internal_ports, mode_planning, way_planning
from ovsdriver.domain.plan.bridges import bridge_features, spanning, tunnels
from ovsdriver.domain.plan.inputs import Defaults, KnownPool, PlanInputs
from ovsdriver.domain.records.model import (
    Endpoint,
    HostAccess,
    Mode,
    Network,
    NetworkId,
    Segment,
    Subnet,
    on_bridge,
)
from ovsdriver.domain.records.options import shaping
from ovsdriver.domain.records.options.port_options import ETHERNET_MTU, PLAIN, PortKind
from ovsdriver.domain.records.options.shaping import Shaping
from ovsdriver.domain.records.requests import (
    NetworkOptions,
    NewNetwork,
    OfferedSubnet,
)
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.traffic import guarding
from ovsdriver.domain.wires import uplinks
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError

IPV6_MINIMUM_MTU = 1280
"""Bytes; RFC 8200, section 5."""

DEFAULT_PREFIX = "eth"
"""Begin of an interface's name in containers, where the user says none."""


def plan(new: NewNetwork, segment: Segment, around: PlanInputs, defaults: Defaults) -> Network:
    """Return the record of the network to make on ``segment``, which was chosen for it.

    Raises:
        InvalidOptionError: options contradict each other or this network.
        ConflictError: the pool or the subnet is taken.
        UnsupportedError: this host or this bridge cannot do it.
    """
    options = new.options
    if options.port.judged and options.port.guard is None:
        options = replace(options, port=replace(options.port, guard=True))
    current = around.current
    had = current.host_addresses if current is not None else ()
    bridge = segment.bridge
    offered = tuple(each for each in new.subnets if each.cidr.prefixlen > 0)
    mode = _mode(new, offered, outside=segment.outside)
    if current is not None:
        subnets = way_planning.regated(
            current.subnets,
            options.gateways,
            mode,
            typed=[each.gateway for each in around.pools if each.gateway_typed],
            touched=around.other_gateways,
        )
    else:
        subnets = _subnets(offered, mode, options, around.pools, defaults.spaces)
    way_planning.refuse_stray_gateways(options, mode, subnets, internal=new.internal)
    way_planning.refuse_stray_routes(
        options.routes,
        subnets,
        has_way=bool(options.gateways.container or any(each.gateway for each in subnets)),
    )
    way_planning.refuse_stray_host(options.host_addresses, mode, subnets)
    modes = mode_planning.by_family(options, mode, {subnet.family for subnet in subnets})
    mode_planning.refuse_vain(options, modes)
    _refuse_stray_bindings(options, modes, subnets)
    internal = options.port.kind is PortKind.INTERNAL
    mtu = _mtu(options, around, defaults, mode, segment, subnets)
    sharers = [each for each in on_bridge(bridge, around.networks) if each.id != new.id]
    bridge_features.refuse_unfit(
        options.features, bridge=bridge, adopted=segment.adopted, sharers=sharers
    )
    probe = current.probe if current is not None else _probe(subnets, around.pools)
    if current is None:
        spanning.refuse_unfit(
            bool(options.features.rstp),
            bridge=bridge,
            adopted=segment.adopted,
            speaks=around.bridge is not None and around.bridge.rstp,
            speaks_stp=around.bridge is not None and around.bridge.stp,
            sharers=sharers,
        )
    if options.features.rstp:
        wire = segment.uplink is not None and not segment.adopted
        spanning.refuse_aside(
            modes.mode,
            internal=internal,
            wire=wire,
            probe=probe,
            leg=bool(options.host_addresses),
        )
        if options.port.guard:
            spanning.refuse_guard()
    limits = Shaping.of(options.port)
    shaping.check(limits, mtu=mtu, internal=internal)
    there = around.bridge.controllers if around.bridge is not None else 0
    guarding.refuse_unfit(
        bridge,
        guard=bool(options.port.guard),
        metered=bool(limits.metered),
        controllers=max(there, len(options.features.controllers)),
    )
    if options.features.controllers:
        _refuse_controller(bridge, new.id, sharers, around.endpoints)
    if internal:
        internal_ports.refuse_long_frames(mtu, segment.datapath)
        if options.interface_prefix is not None:
            internal_ports.refuse_name("ovs.ifprefix", options.interface_prefix, segment.datapath)
    if mode.has_gateway and current is None:
        _refuse_overlaps([each.cidr for each in subnets], around)
    _refuse_overlaps([each for each in options.host_addresses if each not in had], around)
    network = Network(
        id=new.id,
        segment=segment,
        mode=modes.mode,
        mode6=modes.mode6,
        subnets=subnets,
        internal=new.internal,
        shared=options.shared,
        masquerade=options.masquerade is not False,
        isolate=bool(options.isolate),
        icc=options.icc is not False,
        host=options.host or (HostAccess.NONE if options.host_addresses else HostAccess.ALL),
        host_addresses=options.host_addresses,
        bindings=options.bindings,
        probe=probe,
        gateway_container=options.gateways.container,
        routes=options.routes,
        interface_prefix=options.interface_prefix or DEFAULT_PREFIX,
        port=replace(options.port | PLAIN, mtu=mtu, vlan=None),
        features=options.features,
        uplink_cable=options.uplink_cable,
        uplink_rate=options.uplink_rate,
        patches=options.patches,
        patch_cable=options.patch_cable,
        options=options.typed,
    )
    access_planning.check(network, network.port)
    bridge_features.refuse_unspoken(network.features, guarded=bool(network.port.guard))
    return network


def _refuse_controller(
    bridge: str, new: NetworkId, sharers: Sequence[Network], endpoints: Iterable[Endpoint]
) -> None:
    """Refuse a controller beside networks, or containers of any, with flows that must hold."""
    for each in sharers:
        metered = bool(Shaping.of(each.port).metered)
        guarding.refuse_controller(
            bridge, f"network {each.id[:12]}", guard=bool(each.port.guard), metered=metered
        )
    networks = {new, *(each.id for each in sharers)}
    for one in endpoints:
        if one.network in networks and not one.ended:
            metered = bool(Shaping.of(one.port).metered)
            guarding.refuse_controller(
                bridge, f"endpoint {one.id[:12]}", guard=bool(one.port.guard), metered=metered
            )


def _mode(new: NewNetwork, offered: Sequence[OfferedSubnet], *, outside: bool) -> Mode:
    wanted = new.options.mode
    if new.internal:
        if wanted not in (None, Mode.ISOLATED):
            raise InvalidOptionError(
                f"--internal and ovs.mode={wanted} contradict each other: an internal network has "
                "no way out; leave one of them out"
            )
        return Mode.ISOLATED
    if wanted is not None:
        return wanted
    # Without any subnet (--ipam-driver null) there is no gateway to be: plain layer 2 is what
    # can be given.
    return Mode.FLAT if outside or not offered else Mode.NAT


def _subnets(
    offered: Sequence[OfferedSubnet],
    mode: Mode,
    options: NetworkOptions,
    pools: Sequence[KnownPool],
    spaces: frozenset[str],
) -> tuple[Subnet, ...]:
    if mode.has_gateway and not offered:
        raise InvalidOptionError(
            f"ovs.mode={mode} needs a subnet and a gateway, and this network has none; "
            "use --ipam-driver ovsipam, or -o ovs.mode=flat"
        )
    subnets = []
    for each in offered:
        pool = _bound_pool(each, options.space, pools, spaces)
        subnets.append(
            Subnet(
                cidr=each.cidr.cidr,
                gateway=_gateway(each, mode, options, pool),
                space=pool.space if pool else each.space,
                pool=pool.id if pool else None,
                auxiliary=each.auxiliary,
            )
        )
    return tuple(subnets)


def _bound_pool(
    offered: OfferedSubnet,
    space: str | None,
    pools: Sequence[KnownPool],
    spaces: frozenset[str],
) -> KnownPool | None:
    """Find the pool behind a subnet: Docker repeats its space, subnet and gateway, not its id."""
    same = [
        pool
        for pool in pools
        if pool.subnet == offered.cidr.cidr
        and (pool.gateway is None or offered.gateway is None or pool.gateway == offered.gateway)
    ]
    if space is not None:
        fitting = [pool for pool in same if pool.space == space]
        if not fitting:
            raise InvalidOptionError(
                f"ovs.space={space}: the IPAM made no pool {offered.cidr.cidr} in that address "
                f"space; add --ipam-opt ipam.space={space}, or leave ovs.space out"
            )
    else:
        fitting = [pool for pool in same if pool.space == offered.space]
        if not fitting and offered.space in spaces:
            # With --ipam-opt ipam.space=NAME alone Docker still names our default space. A space
            # that is none of ours means another IPAM, whose subnet may be the same by chance.
            fitting = same
    if len(fitting) > 1 and len({pool.space for pool in fitting}) == 1:
        raise ConflictError(
            f"two networks of this host are to have {offered.cidr.cidr} of {fitting[0].space}; "
            "remove the other one, or try again in a few seconds if there is none"
        )
    if len(fitting) > 1:
        raise ConflictError(
            f"several address spaces have a pool {offered.cidr.cidr} for it "
            f"({', '.join(sorted(pool.space for pool in fitting))}); name one with -o ovs.space="
        )
    return fitting[0] if fitting else None


def _gateway(
    offered: OfferedSubnet, mode: Mode, options: NetworkOptions, pool: KnownPool | None
) -> IPAddress | None:
    if mode is Mode.ISOLATED:
        return next((g for g in options.gateways.addresses if g in offered.cidr.cidr), None)
    if mode is Mode.GWBRIDGE:
        if pool is not None and pool.gateway_typed:
            mode_planning.refuse_gateway(f"--gateway {offered.gateway}")
        return None
    said = next((g for g in options.gateways.addresses if g in offered.cidr.cidr), None)
    if mode is Mode.FLAT:
        # Docker asks for a gateway on every network; only a typed one is there for real.
        return said or (offered.gateway if pool is not None and pool.gateway_typed else None)
    if offered.gateway is None:
        raise InvalidOptionError(
            f"ovs.mode={mode}: subnet {offered.cidr.cidr} came without a gateway; "
            "add --gateway ADDRESS, or use -o ovs.mode=flat"
        )
    if said not in (None, offered.gateway):
        raise InvalidOptionError(
            f"ovs.gateway={said} and the gateway {offered.gateway} from the IPAM differ; "
            f"with ovs.mode={mode} say it once, with --gateway {said}"
        )
    if offered.gateway not in offered.cidr.cidr:
        raise InvalidOptionError(
            f"gateway {offered.gateway} is outside of the subnet {offered.cidr.cidr}; "
            "choose one inside with --gateway"
        )
    return offered.gateway


def _probe(subnets: Sequence[Subnet], pools: Sequence[KnownPool]) -> bool:
    bound = {subnet.pool for subnet in subnets}
    return any(pool.probe for pool in pools if pool.id in bound)


def _refuse_stray_bindings(
    options: NetworkOptions, modes: mode_planning.Modes, subnets: Sequence[Subnet]
) -> None:
    families = {subnet.family for subnet in subnets}
    for address in options.bindings:
        mode = modes.mode_of(address.version)
        if mode is not Mode.NAT:
            raise InvalidOptionError(
                f"com.docker.network.bridge.host_binding_ipv4={address}: a network with "
                f"ovs.mode={mode} publishes no ports on this host; leave the option out, or make "
                "the network with ovs.mode=nat"
            )
        if address.version not in families:
            raise InvalidOptionError(
                f"com.docker.network.bridge.host_binding_ipv4={address}: the network has no "
                f"IPv{address.version} subnet, so nothing could be published there; name an "
                "address of its own family, or leave the option out"
            )


def _mtu(
    options: NetworkOptions,
    around: PlanInputs,
    defaults: Defaults,
    mode: Mode,
    segment: Segment,
    subnets: Sequence[Subnet],
) -> int:
    wire = uplinks.smallest_mtu(segment.uplink, around.nics)
    tunnel = options.port.tunnels
    if wire is not None and tunnel:
        wire -= tunnels.INNER_TAG_BYTES
    mtu = options.port.mtu or wire or around.wire_mtu or defaults.mtu
    if wire is not None and mtu > wire and segment.uplink is not None:
        nics = segment.uplink.nics
        inner = tunnels.INNER_TAG_BYTES if tunnel else 0
        raise InvalidOptionError(
            f"ovs.mtu={mtu}: the uplink {'+'.join(nics)} carries {wire} bytes"
            f"{' beside a customer tag' if tunnel else ''}; choose no more, or raise it "
            f"first: {'; '.join(f'ip link set {nic} mtu {mtu + inner}' for nic in nics)}"
        )
    if mtu < IPV6_MINIMUM_MTU and any(subnet.family == 6 for subnet in subnets):
        raise InvalidOptionError(
            f"ovs.mtu={mtu}: IPv6 needs at least {IPV6_MINIMUM_MTU} bytes; "
            "choose more, or leave --ipv6 out"
        )
    if mtu > ETHERNET_MTU and mode.has_gateway and segment.datapath is Datapath.NETDEV:
        raise UnsupportedError(
            f"ovs.mtu={mtu}: on the userspace datapath a gateway loses frames of more than "
            f"{ETHERNET_MTU} bytes; choose at most {ETHERNET_MTU}, or -o ovs.mode=flat or isolated"
        )
    return mtu


def _refuse_overlaps(subnets: Iterable[IPNetwork], around: PlanInputs) -> None:
    held = {
        cidr: network
        for network in around.networks
        for cidr in (
            [each.cidr for each in network.subnets]
            if network.mode.has_gateway
            else network.host_addresses
        )
    }
    for subnet in subnets:
        for cidr, network in held.items():
            if overlap(subnet, cidr):
                raise ConflictError(
                    f"{subnet.cidr} overlaps {cidr.cidr} of network {network.id[:12]}, and the "
                    "host is on both; choose another --subnet, or -o ovs.mode=isolated or flat "
                    "for networks that repeat a subnet"
                )
        for route in around.routes:
            if route.destination.prefixlen and overlap(subnet, route.destination):
                raise ConflictError(
                    f"{subnet.cidr} overlaps the host's route to {route.destination} via "
                    f"{route.link or 'another host'}; choose another --subnet, or -o ovs.mode=flat "
                    "or isolated, which put nothing on the host"
                )


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether two subnets of any family share an address."""
    return bool(
        one.version == other.version and one.first <= other.last and other.first <= one.last
    )
