"""From what the user typed for one container to the port that its endpoint gets. Pure.

Everything that can be refused about such a port without looking at the switch is refused here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from netaddr import IPNetwork

from ovsdriver.domain.plan import access_planning, internal_ports, segment_planning, way_planning
from ovsdriver.domain.plan.bridges import bridge_features, spanning, tunnels
from ovsdriver.domain.plan.planning import DEFAULT_PREFIX, IPV6_MINIMUM_MTU
from ovsdriver.domain.records.model import Endpoint, Mode, Network
from ovsdriver.domain.records.options import shaping, vlans
from ovsdriver.domain.records.options.port_options import PortOptions, VlanMode
from ovsdriver.domain.records.requests import EndpointOptions
from ovsdriver.domain.traffic import guarding
from ovsdriver.domain.wires import desired, mirroring
from ovsdriver.domain.wires.interface_names import INTERFACE_OPTION
from ovsdriver.errors import InvalidOptionError


def with_options(
    endpoint: Endpoint, options: EndpointOptions, network: Network, *, two_tags: bool = True
) -> Endpoint:
    """Return ``endpoint`` as ``options`` want it; its MAC is settled elsewhere.

    What they do not say is left out of the record too, so that it follows the network.

    Raises:
        InvalidOptionError, UnsupportedError: see :func:`check`.
    """
    if network.segment.by_ovn:
        segment_planning.refuse_unfit(options)
    made = replace(
        endpoint,
        port=replace(options.port, kind=options.port.kind or network.port.kind),
        interface=options.interface,
        routes=options.routes,
        ofport=options.ofport,
        protected=options.protected,
        options=options.typed,
    )
    check(made, network, two_tags=two_tags)
    return made


def check(endpoint: Endpoint, network: Network, *, two_tags: bool = True) -> None:
    """Refuse an endpoint that ``network`` cannot have.

    Args:
        endpoint: its record.
        network: the one that it is on.
        two_tags: Open vSwitch looks at two VLAN tags of a frame (``vlan-limit``).

    Raises:
        InvalidOptionError: options contradict each other or the network.
        UnsupportedError: the bridge, or Open vSwitch, cannot do it.
    """
    port = desired.port_options(network, endpoint)
    mode = port.vlan_mode or VlanMode.ACCESS
    access_planning.check(network, port)
    _refuse_mtu(endpoint, network)
    _refuse_contradictions(endpoint.port, port, mode)
    tunnels.check(mode, endpoint.port.cvlans, port.vlan or 0, two_tags=two_tags)
    shaping.check(
        shaping.Shaping.of(port), mtu=desired.mtu(network, endpoint), internal=endpoint.internal
    )
    if mirroring.sink(network, endpoint) and endpoint.port.mirror is not None:
        raise InvalidOptionError(
            "ovs.sink and ovs.mirror contradict each other: an interface that receives copies "
            "sends nothing that could be copied; leave one of them out"
        )
    if network.features.rstp:
        spanning.refuse_port(internal=endpoint.internal)
        if port.guard:
            spanning.refuse_guard()
    if network.segment.by_ovn and desired.protected(network, endpoint) and not port.guard:
        raise InvalidOptionError(
            "ovs.guard=false: OVN keeps containers apart by the MACs that ovs.guard holds them to; "
            "leave it out, or leave ovs.protected out"
        )
    way_planning.refuse_stray_routes(
        endpoint.routes,
        network.subnets,
        has_way=network.has_way,
    )
    bridge_features.refuse_unspoken(network.features, guarded=bool(port.guard))
    if port.guard:
        guarding.refuse_unpinnable(endpoint, trunk=mode.has_trunks)
    if endpoint.internal:
        _refuse_unfit_internal(endpoint, network)


def publishable(endpoint: Endpoint, network: Network) -> Sequence[IPNetwork]:
    """Return the addresses of an endpoint that ports of this host can lead to."""
    if desired.own_vlan(network, endpoint) != network.segment.tag:
        return ()
    return [
        each
        for each in endpoint.addresses
        if network.gateway_of(each) and network.mode_of(each.version) is Mode.NAT
    ]


def why_unpublished(endpoint: Endpoint, network: Network) -> str:
    """Return a clause about an endpoint by which nothing, or not every family, is published."""
    if desired.own_vlan(network, endpoint) != network.segment.tag:
        return (
            "the container's ovs.vlan (or ovs.vlan_mode) puts it outside the network's VLAN, and "
            "the gateway is in that VLAN"
        )
    if Mode.NAT in network.modes:
        return "the container has no address of that family that is published"
    if network.mode is Mode.ROUTED:
        return "containers of a network with ovs.mode=routed are reached by their own addresses"
    return f"a network with ovs.mode={network.mode} has no gateway on this host"


def others_carried(
    endpoint: Endpoint, home: Network, networks: Iterable[Network]
) -> Sequence[Network]:
    """Return the networks of other segments whose VLANs the endpoint is let into."""
    carried = desired.let_into(home, endpoint)
    return [
        each
        for each in networks
        if each.segment.bridge == home.segment.bridge and each.segment.vlans & carried
    ]


def _refuse_mtu(endpoint: Endpoint, network: Network) -> None:
    mtu = desired.mtu(network, endpoint)
    if mtu < IPV6_MINIMUM_MTU and any(each.version == 6 for each in endpoint.addresses):
        raise InvalidOptionError(
            f"ovs.mtu={mtu}: IPv6 needs at least {IPV6_MINIMUM_MTU} bytes; choose more"
        )
    if mtu > network.mtu:
        raise InvalidOptionError(
            f"ovs.mtu={mtu}: the network carries at most {network.mtu} bytes; choose no more, or "
            "give the network a larger ovs.mtu first"
        )


def _refuse_contradictions(own: PortOptions, settled: PortOptions, mode: VlanMode) -> None:
    trunks = settled.trunks
    if trunks and not mode.has_trunks:
        raise InvalidOptionError(
            f"ovs.trunks={vlans.text(trunks)} and ovs.vlan_mode={mode} contradict each other: an "
            "access port carries one VLAN; leave ovs.vlan_mode out, or leave ovs.trunks out and "
            "name the VLAN with ovs.vlan"
        )
    if mode.has_trunks and not trunks:
        raise InvalidOptionError(
            f"ovs.vlan_mode={mode} needs the VLANs that the container may see: add "
            "ovs.trunks=10+20-30"
        )
    if own.vlan is not None and not mode.has_tag:
        raise InvalidOptionError(
            f"ovs.vlan={own.vlan or 'none'} and ovs.vlan_mode={mode} contradict each other: a "
            "trunk has no VLAN for untagged frames; use ovs.vlan_mode=native-untagged, or leave "
            "ovs.vlan out"
        )
    if mode is VlanMode.NATIVE_TAGGED and not settled.vlan:
        raise InvalidOptionError(
            f"ovs.vlan_mode={mode} needs a VLAN, and the network has none (ovs.vlan=none); add "
            "ovs.vlan=1..4094, or use native-untagged"
        )


def _refuse_unfit_internal(endpoint: Endpoint, network: Network) -> None:
    datapath = network.segment.datapath
    if network.interface_prefix != DEFAULT_PREFIX:
        internal_ports.refuse_name("ovs.ifprefix", network.interface_prefix, datapath)
    if endpoint.interface:
        internal_ports.refuse_name(INTERFACE_OPTION, endpoint.interface, datapath)
    internal_ports.refuse_long_frames(desired.mtu(network, endpoint), datapath)
