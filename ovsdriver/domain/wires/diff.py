"""From records and what is observed to the repairs there are to make. Pure."""

import shlex
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network, NetworkId, on_bridge
from ovsdriver.domain.records.options import vlans
from ovsdriver.domain.records.options.port_options import VlanMode
from ovsdriver.domain.wires import desired, uplink_diff
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedLink, ObservedPort
from ovsdriver.domain.wires.plumbing import Attachment, Gateway, Port, Probe, UplinkPort, Veth

_MODES = {
    VlanMode.ACCESS: "an access port",
    VlanMode.TRUNK: "a trunk",
    VlanMode.NATIVE_TAGGED: "a native-tagged trunk",
    VlanMode.NATIVE_UNTAGGED: "a native-untagged trunk",
    VlanMode.DOT1Q_TUNNEL: "a QinQ tunnel",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """One thing to do, through the same operation that made it first."""

    network: Network
    endpoint: Endpoint | None = None
    finish: bool = False
    """Remove what was ended or unplugged; else make what should be there."""
    lost: bool = False
    """The container's interface is gone or leads nowhere, and is to be made again in there."""
    why: str

    @property
    def subject(self) -> str:
        """What is repaired, for the log and for ``status``."""
        if self.endpoint is not None:
            return f"endpoint {self.endpoint.id[:12]}"
        return f"network {self.network.id[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is not as the records say."""

    repairs: tuple[Repair, ...] = ()
    beyond: tuple[str, ...] = ()
    """What we see and may not or cannot mend, one sentence each."""


def compare(
    networks: Iterable[Network],
    endpoints: Iterable[Endpoint],
    *,
    owner: str,
    bridges: Mapping[str, ObservedBridge],
    links: Mapping[str, ObservedLink],
    abandoned: Container[NetworkId] = (),
    displaced: Mapping[str, str] = MappingProxyType({}),
    preparing: Container[EndpointId] = (),
    restoring: Container[EndpointId] = (),
    missing: Container[EndpointId] = (),
) -> Difference:
    """Compare the records with the switch and the host's links.

    Networks come before endpoints in the result, and removals before what may need their place.

    Args:
        networks: all records.
        endpoints: all records.
        owner: whose mark is ours.
        bridges: what the switch has.
        links: what the host has.
        abandoned: networks that Docker has let go of.
        displaced: bridges whose host is not where it was moved to, with what is wrong.
        preparing: endpoints whose port may be there before they are in a sandbox.
        restoring: endpoints whose link was being put back into its container.
        missing: those whose container, when it was last looked into, had no live link of ours.
    """
    ports = {port.name: port for bridge in bridges.values() for port in bridge.ports}
    endpoints = tuple(endpoints)
    by_id = {network.id: network for network in networks}
    finishing: list[Repair] = []
    making: list[Repair] = []
    beyond: list[str] = []
    wires = dict(desired.uplink_ports(by_id.values(), endpoints, owner=owner))
    expected = {port.name for port in wires.values()}
    beyond.extend(uplink_diff.beyond(by_id.values(), wires, bridges, links))
    beyond.extend(_trees(by_id.values(), bridges))
    odd = _odd_bridges(by_id.values(), owner, bridges, links)
    for network in by_id.values():
        unfinished = _unfinished(network, abandoned)
        if unfinished:
            finishing.append(Repair(network=network, finish=True, why=unfinished))
            continue
        expected |= _ports_of_host(network)
        why = (
            _network_lacks(network, owner, bridges, ports, links)
            or odd.get(network.segment.bridge, "")
            or _wire_lacks(network, wires, ports, links, displaced)
        )
        if why and network.segment.adopted and network.segment.bridge not in bridges:
            beyond.append(
                f"network {network.id[:12]}: bridge {network.segment.bridge} is missing, and "
                "ovsnet did not make it; make it again, and the ports come back"
            )
        elif why:
            making.append(Repair(network=network, why=why))
    for endpoint in endpoints:
        home = by_id.get(endpoint.network)
        if home is None or _unfinished(home, abandoned):
            continue
        expected.add(names.port(endpoint))
        why = _cut_short(endpoint, restoring) or _lost(home, endpoint, owner, ports, links, missing)
        repair = (
            Repair(network=home, endpoint=endpoint, lost=True, why=why)
            if why and not endpoint.ended and endpoint.sandbox is not None
            else _endpoint_repair(home, endpoint, owner, ports, links)
        )
        if repair is None or (repair.finish and endpoint.id in preparing):
            continue
        if not repair.finish and home.segment.bridge not in bridges and home.segment.adopted:
            continue
        (finishing if repair.finish else making).append(repair)
    beyond.extend(
        f"port {port.name} on bridge {port.bridge} carries ovsnet's mark and has no record; if no "
        f"container uses it, remove it: ovs-vsctl del-port {shlex.quote(port.bridge)} "
        f"{shlex.quote(port.name)}"
        for port in ports.values()
        if port.external_ids.get(names.OWNER_KEY) == owner
        and port.name not in expected
        # settled by those who make them
        and port.external_ids.get(names.PURPOSE_KEY)
        not in (names.MIRROR, names.NAME_SERVER, names.PATCH)
    )
    return Difference(repairs=(*finishing, *making), beyond=tuple(beyond))


def amiss(network: Network, endpoint: Endpoint, port: ObservedPort | None, *, owner: str) -> bool:
    """Whether :func:`compare` would have an endpoint mended, as far as the switch tells."""
    ports = {port.name: port} if port is not None else {}
    return _endpoint_repair(network, endpoint, owner, ports, {}) is not None


def gateway_amiss(network: Network, links: Mapping[str, ObservedLink], *, owner: str) -> bool:
    """Whether :func:`compare` would have a network mended for its gateway's device."""
    gateway = desired.gateway(network, owner=owner)
    standing = network.made and not network.ended
    return standing and gateway is not None and bool(_gateway_lacks(gateway, links))


def deserted(
    bridges: Container[str], links: Mapping[str, ObservedLink], *, owner: str
) -> Sequence[str]:
    """Return own devices of bridges of ours that are no more, and that no process holds.

    vswitchd deletes them with their bridges; but one that is killed leaves its taps.
    """
    return [
        name
        for name, link in links.items()
        if link.alias == names.bridge_alias(owner, name)
        and not link.carrier
        and name not in bridges
    ]


def _unfinished(network: Network, abandoned: Container[NetworkId]) -> str:
    if network.ended:
        return "its deletion was cut short"
    if not network.made:
        return "its creation was cut short"
    return "Docker has released its pools" if network.id in abandoned else ""


def _ports_of_host(network: Network) -> set[str]:
    return {names.gateway_link(network.id), names.probe_link(network.id)}


def _network_lacks(
    network: Network,
    owner: str,
    bridges: Mapping[str, ObservedBridge],
    ports: Mapping[str, ObservedPort],
    links: Mapping[str, ObservedLink],
) -> str:
    if network.segment.bridge not in bridges:
        return f"bridge {network.segment.bridge} is not there"
    probe = desired.probe(network, owner=owner)
    if probe is None and names.probe_link(network.id) in ports:
        return f"port {names.probe_link(network.id)} was left over from a question"
    gateway = desired.gateway(network, owner=owner)
    if gateway is None and names.gateway_link(network.id) in ports:
        return f"port {names.gateway_link(network.id)} was left over from an address of the host"
    if gateway is not None:
        return _port_lacks(gateway.port, ports) or _gateway_lacks(gateway, links)
    if probe is not None:
        return _port_lacks(probe.port, ports) or _probe_lacks(probe, links)
    return ""


def _odd_bridges(
    networks: Collection[Network],
    owner: str,
    bridges: Mapping[str, ObservedBridge],
    links: Mapping[str, ObservedLink],
) -> Mapping[str, str]:
    """Return what is wrong with bridges of ours that are there, by their name."""
    found = {}
    for segment in {network.segment.bridge: network.segment for network in networks}.values():
        wanted = desired.bridge(segment, networks, owner=owner)
        observed = bridges.get(segment.bridge)
        if wanted is None or observed is None:
            continue
        device = links.get(wanted.name)
        if wanted.features != observed.features:
            found[wanted.name] = (
                f"bridge {wanted.name} has other features than its networks ask for"
            )
        elif device is not None and device.kind == "tun" and not device.alias:
            found[wanted.name] = f"the device of bridge {wanted.name} has no mark"
    return found


def _trees(networks: Collection[Network], bridges: Mapping[str, ObservedBridge]) -> Iterable[str]:
    """Return what a tree that somebody has switched on does to networks that have not said it."""
    for name in sorted({each.segment.bridge for each in networks if not each.ended}):
        bridge = bridges.get(name)
        if bridge is None:
            continue
        here = on_bridge(name, networks)
        unsaid = [each.id[:12] for each in here if bridge.stp or not each.features.rstp]
        speaks = "STP" if bridge.stp else "RSTP"
        if unsaid and (bridge.stp or (bridge.rstp and not bridge.features.rstp)):
            yield (
                f"bridge {name} speaks {speaks}, where nothing is flooded to network "
                f"{', '.join(unsaid)}; switch it off: "
                f"ovs-vsctl set Bridge {shlex.quote(name)} {speaks.lower()}_enable=false"
            )


def _wire_lacks(
    network: Network,
    wires: dict[str, UplinkPort],
    ports: Mapping[str, ObservedPort],
    links: Mapping[str, ObservedLink],
    displaced: Mapping[str, str],
) -> str:
    """Return what its uplink lacks; of the networks that share one, the first speaks for all."""
    wire = wires.pop(network.segment.bridge, None) if network.segment.uplink else None
    if wire is None:
        return ""
    return uplink_diff.lacks(wire, ports, links) or displaced.get(wire.bridge, "")


def _gateway_lacks(gateway: Gateway, links: Mapping[str, ObservedLink]) -> str:
    link = links.get(gateway.port.name)
    held = {str(address) for address in link.addresses} if link else set()
    missing = [str(address) for address in gateway.addresses if str(address) not in held]
    if link is not None and missing:
        return f"gateway {link.name} lacks {', '.join(missing)}"
    return _device_lacks("gateway", gateway, link)


def _probe_lacks(probe: Probe, links: Mapping[str, ObservedLink]) -> str:
    link = links.get(probe.port.name)
    if link is not None and link.addresses:
        # Some program of the host that configures every link it sees.
        given = ", ".join(str(address) for address in link.addresses)
        return f"probing port {link.name} has {given}, which ovsnet did not set"
    return _device_lacks("probing port", probe, link)


def _device_lacks(what: str, wanted: Gateway | Probe, link: ObservedLink | None) -> str:
    name = wanted.port.name
    if link is None:
        return f"{what} {name} has no device"
    if link.mtu != wanted.mtu:
        return f"{what} {name} has MTU {link.mtu}, not {wanted.mtu}"
    return "" if link.up else f"{what} {name} is down"


def _cut_short(endpoint: Endpoint, restoring: Container[EndpointId]) -> str:
    if endpoint.id not in restoring:
        return ""
    return "its link was being put back into its container when that was cut short"


def _lost(
    network: Network,
    endpoint: Endpoint,
    owner: str,
    ports: Mapping[str, ObservedPort],
    links: Mapping[str, ObservedLink],
    missing: Container[EndpointId],
) -> str:
    """Return what of a container's link is gone; empty if nothing is."""
    name = names.port(endpoint)
    link, port = links.get(name), ports.get(name)
    if not endpoint.internal:
        if (
            link is not None
            and endpoint.id in missing
            and names.container_link(endpoint.id) in links
        ):
            return f"its link {name} is not in its container"
        return f"its link {name} is gone" if link is None else ""
    if port is None or port.bridge != network.segment.bridge:
        return f"its internal port {name} was removed, and with it the container's interface"
    if link is not None and link.alias != names.alias(owner, endpoint.id):
        # The device that we settled has our mark, before it goes and after it comes back.
        return (
            f"ovs-vswitchd has made a new device {name} (it was restarted, or lost its database), "
            "so the container's interface leads nowhere"
        )
    if link is None and endpoint.id in missing:
        return f"the device of its internal port {name} is gone from the container"
    return ""


def _endpoint_repair(
    network: Network,
    endpoint: Endpoint,
    owner: str,
    ports: Mapping[str, ObservedPort],
    links: Mapping[str, ObservedLink],
) -> Repair | None:
    if endpoint.ended:
        return Repair(
            network=network, endpoint=endpoint, finish=True, why="its deletion was cut short"
        )
    if endpoint.sandbox is None:
        if names.port(endpoint) not in ports:
            return None
        return Repair(
            network=network, endpoint=endpoint, finish=True, why="its port outlived its container"
        )
    wanted = desired.attachment(network, endpoint, owner=owner)
    why = _port_lacks(wanted.port, ports) or _plug_lacks(wanted, links)
    link = links.get(wanted.port.name)
    if not why and isinstance(wanted.link, Veth) and link and link.mtu != wanted.link.mtu:
        # The bridge's end is changed last, so it tells of the container's, too.
        why = f"link {link.name} has MTU {link.mtu}, not {wanted.link.mtu}"
    return Repair(network=network, endpoint=endpoint, why=why) if why else None


def _plug_lacks(wanted: Attachment, links: Mapping[str, ObservedLink]) -> str:
    """Return what the bridge's end of a veth pair lacks."""
    link = links.get(wanted.port.name)
    if link is None or not isinstance(wanted.link, Veth) or link.up == wanted.link.up:
        return ""
    return f"its link {link.name} is {'up, and ovs.link=down' if link.up else 'down'}"


def _port_lacks(wanted: Port, ports: Mapping[str, ObservedPort]) -> str:
    port = ports.get(wanted.name)
    if port is None:
        return f"port {wanted.name} is not there"
    if port.bridge != wanted.bridge:
        return f"port {wanted.name} is on bridge {port.bridge}"
    if why := _vlans_differ(wanted, port) or _number_differs(wanted, port):
        return f"port {wanted.name} {why}"
    if any(port.external_ids.get(key) != value for key, value in wanted.external_ids.items()):
        return f"port {wanted.name} has lost ovsnet's marks"
    return f"port {wanted.name}: {port.error}" if port.error else ""


def _vlans_differ(wanted: Port, port: ObservedPort) -> str:
    if port.tag != wanted.tag:
        return f"has VLAN {port.tag}, not {wanted.tag}"
    # An empty mode means what the tag says.
    in_force = port.vlan_mode or (VlanMode.TRUNK if port.tag is None else VlanMode.ACCESS)
    if in_force != wanted.vlan_mode or (port.trunks and not wanted.trunks):
        return f"is not {_MODES[wanted.vlan_mode]} any more"
    if port.trunks != wanted.trunks:
        carried = vlans.text(port.trunks) or "every VLAN"
        return f"is a trunk of {carried}, not of {vlans.text(wanted.trunks)}"
    if port.cvlans != wanted.cvlans:
        return f"lets the tags {vlans.text(port.cvlans) or '(all)'} into its tunnel"
    return _company_differs(wanted, port)


def _company_differs(wanted: Port, port: ObservedPort) -> str:
    if port.protected != wanted.protected:
        return f"is {'not ' if wanted.protected else ''}protected"
    if wanted.tree is not None and port.tree is not wanted.tree:
        return f"is {'kept out of' if wanted.tree else 'let into'} its bridge's spanning tree"
    return ""


def _number_differs(wanted: Port, port: ObservedPort) -> str:
    # An internal port in a container cannot be given another number: it would be made anew.
    if wanted.moves or wanted.ofport in (None, port.ofport):
        return ""
    return f"has OpenFlow port {port.ofport}, not {wanted.ofport}"
