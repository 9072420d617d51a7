"""From records to the rows, links and rules there should be. Pure, and the only such place."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.access import resolving
from ovsdriver.domain.access.policy import AccessPlan, Member
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import (
    Endpoint,
    EndpointId,
    Network,
    Publication,
    Segment,
    Transport,
    on_bridge,
)
from ovsdriver.domain.records.options import features
from ovsdriver.domain.records.options.access import RuleSet
from ovsdriver.domain.records.options.flows import Flow, PortFlows
from ovsdriver.domain.records.options.port_options import Cable, PortOptions, VlanMode, VlanTag
from ovsdriver.domain.records.options.shaping import Shaping
from ovsdriver.domain.records.segments import NAME_SERVER_MAC, Datapath, OvnSegment, Uplink
from ovsdriver.domain.traffic import guarding, judging, tagging
from ovsdriver.domain.traffic.firewall import FirewallPlan, GatewayRules
from ovsdriver.domain.wires import uplinks
from ovsdriver.domain.wires.plumbing import (
    Attachment,
    Bridge,
    Gateway,
    NameServer,
    Port,
    Probe,
    Tap,
    UplinkPort,
    Veth,
)

NO_TAG = VlanTag(0)


def bridge(segment: Segment, networks: Iterable[Network] = (), *, owner: str) -> Bridge | None:
    """Return the bridge to make for ``segment``; None if it is someone else's to make.

    Of ``networks``, all there are, those on the same bridge say whether the host is on it, too.
    """
    if segment.adopted:
        return None
    here = on_bridge(segment.bridge, networks)
    uplink = uplinks.uplinked(segment.bridge, here)
    return Bridge(
        name=segment.bridge,
        datapath=segment.datapath,
        owned=True,
        host=uplink.host if uplink is not None else None,
        features=features.combined(each.features for each in here),
        external_ids=names.bridge_ids(owner),
    )


def pulled_uplinks(networks: Iterable[Network]) -> set[str]:
    """Return the bridges the cable of whose uplink is pulled, by whichever network."""
    return {
        each.segment.bridge
        for each in networks
        if each.uplink_cable is Cable.DOWN and not each.ended
    }


def uplink_ports(
    networks: Collection[Network], endpoints: Iterable[Endpoint] = (), *, owner: str
) -> Mapping[str, UplinkPort]:
    """Return the ports of ours that lead to wires, by bridge.

    Each lets through the segments of the networks that use it, what containers on these were let
    into by name, and nothing else; the administrator's own ports are none of these.
    """
    listed = _listed_by_containers(networks, endpoints)
    users: dict[str, tuple[Uplink, set[VlanTag]]] = {}
    pulled = pulled_uplinks(networks)
    rates: dict[str, int] = {}
    for network in networks:
        segment = network.segment
        if network.uplink_rate and not network.ended:
            rates[segment.bridge] = min(
                network.uplink_rate, rates.get(segment.bridge, network.uplink_rate)
            )
        if segment.uplink is not None and not segment.uplink.given and not network.ended:
            tags = users.setdefault(segment.bridge, (segment.uplink, set()))[1]
            tags |= {*segment.vlans, *([NO_TAG] if segment.uplink.host else [])}
    return {
        bridge: UplinkPort(
            name=names.bond_port(bridge) if uplink.bond else uplink.nics[0],
            bridge=bridge,
            nics=uplink.nics,
            trunks=tuple(sorted(tags | listed.get(bridge, frozenset()))),
            bond=uplink.bond,
            lacp=uplink.lacp,
            up=bridge not in pulled,
            rate=rates.get(bridge, 0),
            host=uplink.host is not None,
            external_ids=names.uplink_ids(owner),
        )
        for bridge, (uplink, tags) in users.items()
    }


def _listed_by_containers(
    networks: Collection[Network], endpoints: Iterable[Endpoint]
) -> Mapping[str, frozenset[VlanTag]]:
    """Return by bridge what plugged-in containers of networks with an uplink were let into.

    Without the segments of networks that have no uplink: a router of theirs must not open them to
    the wire.
    """
    standing = {each.id: each for each in networks if not each.ended}
    closed: dict[str, set[VlanTag]] = {}
    for network in standing.values():
        if network.segment.uplink is None:
            closed.setdefault(network.segment.bridge, set()).update(network.segment.vlans)
    found: dict[str, frozenset[VlanTag]] = {}
    for endpoint in endpoints:
        home = standing.get(endpoint.network)
        if home is None or home.segment.uplink is None or endpoint.sandbox is None:
            continue
        bridge = home.segment.bridge
        open_ = carried(home, endpoint) - closed.get(bridge, set())
        found[bridge] = found.get(bridge, frozenset()) | open_
    return found


def attachment(network: Network, endpoint: Endpoint, *, owner: str, tso_of: str = "") -> Attachment:
    """Return the plumbing that puts ``endpoint`` on ``network``.

    The same records always give the same names, so a restarted daemon finds what an earlier
    one made.

    Args:
        network: the endpoint's.
        endpoint: the record.
        owner: our mark.
        tso_of: the tap of a userspace bridge; empty on the kernel's datapath, which finishes
            checksums by itself. The userspace one does only with TSO on; without it TCP between
            containers does not move a byte (measured with Open vSwitch 3.5).
    """
    internal, options = endpoint.internal, port_options(network, endpoint)
    return Attachment(
        endpoint=endpoint.id,
        link=(
            _tap(network, endpoint, owner) if internal else _veth(network, endpoint, owner, tso_of)
        ),
        port=Port(
            name=names.port(endpoint),
            bridge=network.segment.bridge,
            tag=options.vlan,
            vlan_mode=options.vlan_mode or VlanMode.ACCESS,
            trunks=_plugged_trunks(options),
            cvlans=options.cvlans,
            internal=internal,
            moves=internal,
            # or vswitchd makes it the smallest of the bridge's, before it is in its container
            mtu=mtu(network, endpoint) if internal else None,
            ofport=endpoint.ofport,
            protected=protected(network, endpoint) and not network.segment.by_ovn,  # OVN does it
            tree=None if internal else bool(network.features.rstp),
            external_ids=names.endpoint_ids(owner, endpoint, network.segment),
        ),
    )


def name_server(network: Network, *, owner: str, tso_of: str = "") -> NameServer | None:
    """Return the name server of a network's segment; None where there is none, or no IPv4.

    Args:
        network: the one network of this host on that segment.
        owner: our mark.
        tso_of: as of :func:`attachment`.
    """
    segment = network.segment
    clients = tuple(each.cidr for each in network.subnets if each.family == 4)
    if not isinstance(segment, OvnSegment) or not clients:
        return None
    name = segment.segment
    return NameServer(
        segment=name,
        link=Veth(
            host=names.server_link(name),
            container=names.server_inner_link(name),
            mac=NAME_SERVER_MAC,
            mtu=network.mtu,
            tso_of=tso_of,
            alias=names.segment_alias(owner, name),
        ),
        port=Port(
            name=names.server_link(name),
            bridge=segment.bridge,
            tag=NO_TAG,
            tree=False,
            external_ids=names.server_ids(owner, name),
        ),
        clients=clients,
    )


def protected(network: Network, endpoint: Endpoint) -> bool:
    """Whether an endpoint's port is kept apart from others of which that is so."""
    return endpoint.protected or (not network.icc and not network.is_gateway(endpoint))


def _veth(network: Network, endpoint: Endpoint, owner: str, tso_of: str) -> Veth:
    return Veth(
        host=names.host_link(endpoint.id),
        container=names.container_link(endpoint.id),
        mac=endpoint.mac,
        mtu=mtu(network, endpoint),
        tso_of=tso_of,
        alias=names.alias(owner, endpoint.id),
        up=cable(network, endpoint) is Cable.UP,
    )


def _tap(network: Network, endpoint: Endpoint, owner: str) -> Tap:
    # Its MAC is not said to vswitchd, which would go on trying to set it on a device that it does
    # not see any more.
    return Tap(
        name=names.internal_link(endpoint.id),
        mac=endpoint.mac,
        mtu=mtu(network, endpoint),
        alias=names.alias(owner, endpoint.id),
    )


def port_options(network: Network, endpoint: Endpoint) -> PortOptions:
    """Return what holds for an endpoint's port: what it says itself, else what its network says.

    Except for mirrors: a network's copies are not each container's own. And who has access rules
    is guarded, or it would escape them by another address.
    """
    return _port_options(network.segment, endpoint.port, network.port)


@lru_cache(maxsize=1024)  # asked ten times for each attach, and most ports of a network are alike
def _port_options(segment: Segment, own: PortOptions, networks: PortOptions) -> PortOptions:
    settled = segment.settled(own, networks)
    if settled.judged and own.guard is None and not settled.guard:
        settled = replace(settled, guard=True)
    return settled if settled.mirror is own.mirror else replace(settled, mirror=own.mirror)


def _plugged_trunks(options: PortOptions) -> tuple[VlanTag, ...]:
    # Open vSwitch counts a native VLAN among a port's, but not if it is the one without a tag.
    bare = bool(options.trunks) and options.vlan == NO_TAG
    return (NO_TAG, *options.trunks) if bare else options.trunks


def mtu(network: Network, endpoint: Endpoint) -> int:
    """Return the MTU of both ends of an endpoint's link, in bytes."""
    return endpoint.port.mtu or network.mtu


def vlan_mode(network: Network, endpoint: Endpoint) -> VlanMode:
    """Return the mode of an endpoint's port."""
    return port_options(network, endpoint).vlan_mode or VlanMode.ACCESS


def own_vlan(network: Network, endpoint: Endpoint) -> VlanTag | None:
    """Return the VLAN that untagged frames of ``endpoint`` are in; None if in none."""
    return port_options(network, endpoint).vlan


def let_into(network: Network, endpoint: Endpoint) -> frozenset[VlanTag]:
    """Return the VLANs besides its network's own that ``endpoint`` takes part in."""
    return carried(network, endpoint) - network.segment.vlans


def carried(network: Network, endpoint: Endpoint) -> frozenset[VlanTag]:
    """Return every VLAN that ``endpoint`` takes part in; 0 for the segment without a tag."""
    port = port_options(network, endpoint)
    return frozenset((*port.trunks, *(() if port.vlan is None else (port.vlan,))))


def port_flows(network: Network, endpoint: Endpoint) -> PortFlows:
    """Return the flows and meters of a plugged-in endpoint's port; none if nothing asks for any.

    On a segment flows are OVN's, and so is what guards its ports.
    """
    if network.segment.by_ovn:
        return PortFlows()
    port = port_options(network, endpoint)
    metered = Shaping.of(port).metered
    if not port.guard:
        return metered
    guard = guarding.guard(endpoint, forwards=network.is_gateway(endpoint))
    return replace(metered, flows=metered.flows | guard)


def judged_flows(network: Network, endpoint: Endpoint, member: Member) -> PortFlows:
    """Return the flows that a port has besides because of access rules; it has ``member``'s."""
    vlan = own_vlan(network, endpoint)
    host = gateway(network, owner="") if member.gateway else None
    return judging.member(
        member,
        zone=judging.zone(network.segment.bridge, NO_TAG if vlan is None else vlan),
        gateway=host.port.mac if host is not None else None,
        forwards=network.is_gateway(endpoint),
    )


def bridge_flows(networks: Iterable[Network], bridge: str, *, two_tags: bool) -> PortFlows:
    """Return the flows for all ports of a bridge of ours; none if it is not, or not any more.

    Args:
        networks: all that there are.
        bridge: its name.
        two_tags: Open vSwitch looks at two tags of a frame.
    """
    here = on_bridge(bridge, networks)
    if not here or here[0].segment.adopted:
        return PortFlows()
    return PortFlows(flows=tagging.untagged(two_tags=two_tags))


def tag_flows(
    network: Network, endpoint: Endpoint, networks: Iterable[Network], *, two_tags: bool
) -> frozenset[Flow]:
    """Return the flows about tags that a port has itself; see :func:`bridge_flows`."""
    segment = network.segment
    found = frozenset[Flow]()
    if segment.adopted and segment.vlans:
        found = tagging.untagged(two_tags=two_tags)
    if not vlan_mode(network, endpoint).has_trunks:
        return found
    tunnels = {
        vlan
        for each in on_bridge(segment.bridge, networks)
        if each.port.tunnels
        for vlan in each.segment.vlans
    }
    return found | tagging.trunk(tunnels)


def cable(network: Network, endpoint: Endpoint) -> Cable:
    """Return whether the cable of ``endpoint`` is plugged in."""
    return port_options(network, endpoint).cable or Cable.UP


def shaping(network: Network, endpoint: Endpoint) -> Shaping:
    """Return the rates, delay and loss that hold for ``endpoint``."""
    return Shaping.of(port_options(network, endpoint))


def by_address(endpoint: Endpoint) -> tuple[list[tuple[int, int]], EndpointId]:
    """Return the key of an endpoint's place: records move with every change of theirs."""
    return [(each.version, int(each.ip)) for each in endpoint.addresses], endpoint.id


def interface_prefix(network: Network, endpoint: Endpoint, datapath: Datapath) -> str:
    """Return what Docker makes the interface's name in the container from, with a number behind it.

    An internal port of the kernel's datapath keeps its name: see ``names.internal_link``.
    """
    if endpoint.internal and datapath is Datapath.SYSTEM:
        return names.internal_link(endpoint.id).removesuffix("0")
    return network.interface_prefix


def gateway(network: Network, *, owner: str) -> Gateway | None:
    """Return the host's port on ``network``, by which it need not be the gateway; None: none."""
    addresses = network.on_this_host
    if not addresses:
        return None
    return Gateway(
        network=network.id,
        port=Port(
            name=names.gateway_link(network.id),
            bridge=network.segment.bridge,
            tag=network.segment.tag,
            internal=True,
            mac=names.mac_for_gateway(addresses[0], network.id),
            mtu=network.mtu,
            external_ids=names.gateway_ids(owner, network),
        ),
        addresses=addresses,
        mtu=network.mtu,
    )


def passes_gateway(network: Network, port: PortOptions) -> bool:
    """Whether what such a port sends beyond its network passes a gateway of ours."""
    return (
        network.mode.has_gateway
        and any(each.gateway is not None for each in network.subnets)
        and port.vlan_mode is not VlanMode.TRUNK
        and port.vlan in (None, network.segment.tag)
    )


def probe(network: Network, *, owner: str) -> Probe | None:
    """Return the port that the segment is asked from; None if nobody asks, or the gateway does."""
    if not network.probe or gateway(network, owner=owner) is not None:
        return None
    return scout(network, owner=owner)


def scout(network: Network, *, owner: str) -> Probe:
    """Return a port that the segment of any network can be asked from, if only for a moment."""
    return Probe(
        network=network.id,
        port=Port(
            name=names.probe_link(network.id),
            bridge=network.segment.bridge,
            tag=network.segment.tag,
            internal=True,
            mac=names.mac_for_probe(network.id),
            mtu=network.mtu,
            external_ids=names.probe_ids(owner, network),
        ),
        mtu=network.mtu,
    )


def asking_link(network: Network, *, owner: str) -> str | None:
    """Return the host's device on the segment, from which it can be asked; None if it has none."""
    host = gateway(network, owner=owner) or probe(network, owner=owner)
    return host.port.name if host is not None else None


def _held(cidr: IPNetwork, own: IPAddress | None) -> tuple[IPAddress, ...]:
    """Return the addresses of a subnet that the host answers to, on whatever link they arrive.

    Its ``own``; of IPv6 the lowest one too, that of "any router here" (RFC 4291, 2.6.1); of IPv4
    the lowest and the highest, at which every program hears that listens for broadcasts.
    """
    if own is None:
        return ()
    edges = {cidr.first} if cidr.version == 6 else {cidr.first, cidr.last}
    if cidr.size <= 2:
        edges = set()
    return tuple(IPAddress(each, cidr.version) for each in sorted({int(own), *edges}))


def _places(network: Network) -> list[tuple[IPNetwork, IPAddress | None]]:
    """Return the subnets of a network, with the host's address in each."""
    if network.mode.has_gateway:
        return [(each.cidr, each.gateway) for each in network.subnets]
    return [(each.cidr, each.ip) for each in network.host_addresses]


def _apart(published: Iterable[Publication]) -> tuple[Publication, ...]:
    """Return them sorted, without those whose place another one has.

    Of two records that claim one place (the one of a dead container) one is as good as the
    other; a table with both would be refused whole.
    """
    found: list[Publication] = []
    ends: dict[tuple[Transport, IPAddress], int] = {}
    ordered = sorted(
        {each.at: each for each in published}.values(),
        key=lambda each: (each.protocol, each.host_port, each.host.version, each.host),
    )
    for each in ordered:
        place = (each.protocol, each.host)
        if each.host_port > ends.get(place, 0):
            ends[place] = each.at.last
            found.append(each)
    return tuple(found)


def firewall(
    networks: Iterable[Network],
    endpoints: Iterable[Endpoint] = (),
    *,
    outside_bridges: tuple[str, ...] = (),
    refuses_names: bool = False,
) -> FirewallPlan:
    """Return what the host's firewall should allow for all of ``networks``, in a stable order."""
    standing = [n for n in networks if (n.mode.has_gateway or n.host_addresses) and not n.ended]
    known = {network.id for network in standing}
    publishing = [e for e in endpoints if e.published and not e.ended and e.network in known]
    loopback = {
        endpoint.network
        for endpoint in publishing
        for each in endpoint.published
        if each.host.version == 4 and (each.at.everywhere or each.host.is_loopback())
    }
    return FirewallPlan(
        gateways=tuple(
            GatewayRules(
                network=network.id,
                link=names.gateway_link(network.id),
                mode=network.mode,
                mode6=network.mode6,
                subnets=tuple(
                    s.cidr
                    for s in network.subnets
                    if s.gateway is not None and network.mode.has_gateway
                ),
                held=tuple(each for place in _places(network) for each in _held(*place)),
                masquerade=network.masquerade,
                isolate=network.isolate,
                icc=network.icc,
                host=network.host,
                loopback=network.id in loopback,
            )
            for network in sorted(standing, key=lambda each: each.id)
        ),
        published=_apart(each for endpoint in publishing for each in endpoint.published),
        detours=frozenset(
            (names.gateway_link(endpoint.network), each.address)
            for endpoint in publishing
            for each in endpoint.published
            if each.instead_of is not None
        ),
        outside_bridges=outside_bridges,
        refuses_names=refuses_names,
    )


def access(
    networks: Iterable[Network],
    endpoints: Iterable[Endpoint],
    *,
    called: Mapping[str, str] = MappingProxyType({}),
    sets: Mapping[str, RuleSet] = MappingProxyType({}),
) -> AccessPlan:
    """Return the policies of all containers that have access rules; see ``resolving.plan``."""
    standing = {each.id: each for each in networks if not each.ended}
    live = [each for each in endpoints if not each.ended and each.network in standing]
    judged = []
    for endpoint in live:
        network, own = standing[endpoint.network], endpoint.port
        if own.judged or network.port.judged:
            plain = own.vlan is None and own.vlan_mode is None  # or it takes long to settle
            port = network.port if plain else port_options(network, endpoint)
            said = resolving.Said(
                allow=own.allow or network.port.allow,
                deny=own.deny or network.port.deny,
                sets=own.rules or network.port.rules,
            )
            link = names.gateway_link(network.id) if passes_gateway(network, port) else ""
            judged.append(resolving.Judged(endpoint=endpoint, said=said, gateway=link))
    if not judged:
        return AccessPlan()
    return resolving.plan(judged, standing.values(), live, called=called, sets=sets)
