"""From what the user typed for one container to the port that its endpoint gets. Pure.

Everything that can be refused about such a port without looking at the switch is refused here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ovsdriver.domain import desired, internal_ports, vlans
from ovsdriver.domain.model import Endpoint, Network, PortKind, VlanMode
from ovsdriver.domain.planning import DEFAULT_PREFIX
from ovsdriver.domain.requests import EndpointOptions
from ovsdriver.errors import InvalidOptionError


def with_port(endpoint: Endpoint, options: EndpointOptions, network: Network) -> Endpoint:
    """Return ``endpoint`` with the port that ``options`` ask for; its MTU is settled before.

    ``ovs.trunks`` alone leaves untagged frames in the network's VLAN, so that the address which
    Docker gives the container goes on working: ``native-untagged``.

    Raises:
        InvalidOptionError: options contradict each other or the network.
        UnsupportedError: the bridge cannot do it.
    """
    mode = options.vlan_mode
    if mode is None:
        own = VlanMode.DOT1Q_TUNNEL if network.segment.tunnel else VlanMode.ACCESS
        mode = VlanMode.NATIVE_UNTAGGED if options.trunks else own
    tunnels = mode is VlanMode.DOT1Q_TUNNEL
    kind = options.port or network.port
    made = replace(
        endpoint,
        port=kind,
        vlan=options.vlan,
        vlan_mode=mode,
        trunks=options.trunks,
        cvlans=options.cvlans or (network.segment.cvlans if tunnels else ()),
        ofport=options.ofport,
        protected=options.protected,
    )
    _refuse_contradictions(made, network)
    if kind is PortKind.INTERNAL:
        _refuse_unfit_internal(made, network)
    return made


def others_carried(
    endpoint: Endpoint, home: Network, networks: Iterable[Network]
) -> Sequence[Network]:
    """Return the networks of other segments whose VLANs the endpoint is let into."""
    carried = desired.carried(home, endpoint) - {home.segment.tag}
    return [
        each
        for each in networks
        if each.segment.bridge == home.segment.bridge and each.segment.tag in carried
    ]


def _refuse_contradictions(endpoint: Endpoint, network: Network) -> None:
    mode, trunks = endpoint.vlan_mode, endpoint.trunks
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
    if endpoint.vlan is not None and not mode.has_tag:
        raise InvalidOptionError(
            f"ovs.vlan={endpoint.vlan or 'none'} and ovs.vlan_mode={mode} contradict each other: a "
            "trunk has no VLAN for untagged frames; use ovs.vlan_mode=native-untagged, or leave "
            "ovs.vlan out"
        )
    if mode is VlanMode.NATIVE_TAGGED and not desired.own_vlan(network, endpoint):
        raise InvalidOptionError(
            f"ovs.vlan_mode={mode} needs a VLAN, and the network has none (ovs.vlan=none); add "
            "ovs.vlan=1..4094, or use native-untagged"
        )


def _refuse_unfit_internal(endpoint: Endpoint, network: Network) -> None:
    datapath = network.segment.datapath
    if network.interface_prefix != DEFAULT_PREFIX:
        internal_ports.refuse_prefix(network.interface_prefix, datapath)
    internal_ports.refuse_long_frames(endpoint.mtu, datapath)
