"""What there is, for people and for scripts: records, switch and Docker's names side by side.

Pure: everything is read from what is in memory already, so a report costs no waiting and may be
made at any time. The dataclasses are the admin socket's JSON, member by member.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ipam.model import Pool, PoolId
from ovsdriver.admin.addresses.report import SETTLING_S
from ovsdriver.admin.by_name import Target
from ovsdriver.admin.views import (
    AffectedContainer,
    Changed,
    ChangedOption,
    Counts,
    DockerReport,
    EndpointReport,
    NetworkReport,
    PlanReport,
    Report,
    SwitchReport,
    TimedChange,
    UplinkReport,
)
from ovsdriver.domain.plan import port_planning
from ovsdriver.domain.plan.bridges import tunnels
from ovsdriver.domain.plan.preview import Preview
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import (
    Endpoint,
    EndpointId,
    HostPort,
    Network,
    NetworkId,
    PortMapping,
)
from ovsdriver.domain.records.options import shaping, vlans
from ovsdriver.domain.records.options.timed import Timed
from ovsdriver.domain.records.segments import segment_of
from ovsdriver.domain.traffic import publishing
from ovsdriver.domain.wires import desired, interface_names, mirroring, patching
from ovsdriver.domain.wires.observed import ObservedPort
from ovsdriver.domain.wires.patching import Asked
from ovsdriver.ports import EngineView, State, SwitchView
from ovsdriver.service.change.changes import Done
from ovsdriver.service.change.timed import Whose
from ovsdriver.service.forgotten.pool_claims import Claims
from ovsdriver.words import in_force
from ovsdriver.words.options import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything that a report is made of."""

    owner: str
    state: State
    switch: SwitchView
    pools: Sequence[Pool] = ()
    leases: Mapping[PoolId, int] = field(default_factory=dict)
    """Number of addresses in use."""
    held: frozenset[HostPort] = frozenset()
    """Ports of this host that are reserved."""
    view: EngineView | None = None
    """Docker's last answer; None: none yet."""
    lost: Mapping[EndpointId, str] = field(default_factory=dict)
    """Endpoints that were found cut off and could not be helped, with the reason."""
    interfaces: Mapping[EndpointId, str] = field(default_factory=dict)
    """Names of the interfaces in the containers, where they were seen."""
    excesses: Mapping[EndpointId, str] = field(default_factory=dict)
    """What of them would not be put back."""
    now: float = math.inf
    """Seconds since the epoch: what was made just now may still become something."""


def plan(found: Preview) -> PlanReport:
    """Return what ``plan`` says of a network that was planned."""
    return PlanReport(
        network=found.network,
        in_force=in_force.of_network(found.network),
        rows=found.rows,
        links=found.links,
        rules=found.rules,
        flows_each=len(found.container.flows),
        meters_each=len(found.container.meters),
        warnings=found.warnings,
    )


def changed(target: Target, done: Done, view: EngineView | None) -> Changed:
    """Return what ``set`` says of what was changed."""
    endpoint = target.endpoint
    return Changed(
        kind="network" if endpoint is None else "endpoint",
        id=endpoint or target.network,
        name=container_name(endpoint, view) if endpoint else network_name(target.network, view),
        network=target.network,
        options=tuple(
            ChangedOption(option=name, old=done.old[name], new=new)
            for name, new in done.new.items()
        ),
        containers=tuple(
            AffectedContainer(endpoint=each, container=container_name(each, view))
            for each in done.endpoints
        ),
        pending=done.pending,
    )


def report(scene: Scene) -> Report:
    """Return everything there is: networks by name, their endpoints by address."""
    state = scene.state
    networks = sorted(
        state.networks(), key=lambda each: (network_name(each.id, scene.view), each.id)
    )
    receivers = _receivers(scene)
    patches = patching.asked(networks)
    return Report(
        networks=tuple(_network(scene, each, patches) for each in networks),
        endpoints=tuple(
            _endpoint(scene, network, each, receivers)
            for network in networks
            for each in sorted(state.endpoints(network.id), key=desired.by_address)
        ),
    )


def switch(observed: SwitchView) -> SwitchReport:
    """Return what ``status`` says of Open vSwitch."""
    now = observed.status()
    used = {each.datapath.value for each in observed.bridges().values() if each.owned}
    return SwitchReport(connected=now.connected, version=now.version, datapaths=tuple(sorted(used)))


def docker(view: EngineView | None) -> DockerReport:
    """Return what ``status`` says of Docker."""
    if view is None:
        return DockerReport()
    return DockerReport(answered=True, version=view.version, id=view.id)


def counts(scene: Scene) -> Counts:
    """Return how many of each there are."""
    # Of segments all hosts have them; those are not records of this one.
    return Counts(
        networks=len(scene.state.networks()),
        endpoints=len(scene.state.endpoints()),
        pools=sum(segment_of(each.id) is None for each in scene.pools),
        leases=sum(held for pool, held in scene.leases.items() if segment_of(pool) is None),
    )


def timed(
    running: Mapping[Whose, Sequence[Timed]], view: EngineView | None, *, now: float
) -> tuple[TimedChange, ...]:
    """Return what is for a while."""
    return tuple(
        TimedChange(
            kind=whose.scope.value,
            id=whose.id,
            name=(
                network_name(NetworkId(whose.id), view)
                if whose.scope is Scope.NETWORK
                else container_name(EndpointId(whose.id), view)
            ),
            options=each.options,
            holds=each.holds(now),
            turns=each.turn(now),
        )
        for whose, changes in running.items()
        for each in changes
        if not each.over(now)
    )


def uplinks(scene: Scene) -> tuple[str, ...]:
    """Return a phrase for each uplink: its NICs, its bridge, what it carries."""
    networks = {each.segment.bridge: each for each in scene.state.networks() if not each.ended}
    found = []
    for bridge, network in sorted(networks.items()):
        uplinked = _uplinked(scene, bridge) or network
        seen = _uplink(scene, uplinked)
        if seen is not None and uplinked.segment.uplink is not None:
            carried = vlans.text(each for each in seen.vlans if each)
            untagged = "untagged frames" if 0 in seen.vlans else ""
            what = " and ".join(filter(None, (f"VLAN {carried}" if carried else "", untagged)))
            found.append(
                f"{'+'.join(uplinked.segment.uplink.nics)} on {bridge} carries "
                f"{what or ('all VLANs' if seen.port else 'nothing')}"
                f"{', its cable pulled (ovs.uplink_link=down)' if seen.pulled else ''}"
                f"{f', {shaping.sends(seen.rate)}' if seen.rate else ''}"
            )
    return tuple(found)


def _uplinked(scene: Scene, bridge: str) -> Network | None:
    """Return a network on a bridge that has an uplink; others on it may have no way out."""
    networks = (each for each in scene.state.networks() if each.segment.bridge == bridge)
    return next((each for each in networks if each.segment.uplink and not each.ended), None)


def warnings(scene: Scene) -> tuple[str, ...]:
    """Return what a person should look at, a sentence each."""
    found = []
    networks = scene.state.networks()
    for network in networks:
        if not network.ended and _orphan(network, scene.view):
            short = network.id[:12]
            found.append(
                f"network {short} is not known to Docker any more; `ovsnet network rm {short}` "
                "removes it here, and without endpoints it goes by itself after ten minutes"
            )
    found += _unpublished_warnings(scene)
    found += [
        f"pool {each.subnet} of space {each.space} is of no network that Docker lists, with "
        f"{held} of its addresses held; `ovsnet ipam release {each.id}` frees it"
        for each, held in _orphan_pools(scene)
    ]
    found += [
        f"pool {each.subnet} of space {each.space} has ipam.probe, and its network is not of the "
        "driver ovsnet, so nobody is asked before an address is given"
        for each in _unasked_pools(scene)
    ]
    found += _uplink_warnings(scene)
    found += [
        f"endpoint {each[:12]}: if its interface were lost, {what} would not be put back: more "
        "than are kept"
        for each, what in scene.excesses.items()
    ]
    found += _equal_macs(scene)
    found += patching.waiting(networks, networks)
    tunnelled = [each.id[:12] for each in networks if each.port.tunnels and not each.ended]
    state = scene.switch.status()
    if tunnelled and state.connected and not tunnels.looks_at_two(state.other_config):
        found.append(
            f"network {', '.join(tunnelled)}: Open vSwitch looks at one VLAN tag of a frame by "
            "now, so tunnels do not work: ovs-vsctl set Open_vSwitch . other_config:vlan-limit=2"
        )
    adopted = {
        each.segment.bridge for each in networks if each.segment.adopted and not each.segment.by_ovn
    }
    for bridge in map(scene.switch.bridge, sorted(adopted)):
        if bridge is not None and (bridge.controllers or bridge.fail_mode == "secure"):
            why = "has a controller" if bridge.controllers else "has fail_mode=secure"
            found.append(
                f"bridge {bridge.name} {why}: VLAN tags act only through the NORMAL action, so its "
                "flows decide what reaches the containers"
            )
    return tuple(found)


def _unpublished_warnings(scene: Scene) -> Iterator[str]:
    for each in scene.state.endpoints():
        network = scene.state.network(each.network)
        ports = _unpublished(scene, each)
        if ports and network is not None:
            text = ", ".join(each.text for each in ports[:5])
            more = f" and {len(ports) - 5} more" if len(ports) > 5 else ""
            yield (
                f"endpoint {each.id[:12]}: {text}{more} of -p not published: "
                f"{_why_unpublished(each, network)}"
            )


def _unpublished(scene: Scene, endpoint: Endpoint) -> tuple[PortMapping, ...]:
    """Return what -p asked for and nobody does.

    Docker tells it to every network of a container, and asks one that has told it a gateway; what
    the others have noted counts only where none was asked, or none of ours publishes.
    """
    if endpoint.ended or endpoint.unpublished_why:
        return endpoint.unpublished if not endpoint.ended else ()
    beside = [
        each
        for each in scene.state.endpoints()
        if endpoint.unpublished and each.sandbox == endpoint.sandbox and not each.ended
    ]
    if any(each.unpublished_why for each in beside):
        return ()
    done = {p.text for each in beside for p in each.published}
    return tuple(each for each in endpoint.unpublished if each.text not in done)


def _why_unpublished(endpoint: Endpoint, network: Network) -> str:
    return endpoint.unpublished_why or port_planning.why_unpublished(endpoint, network)


def _uplink_warnings(scene: Scene) -> Iterator[str]:
    bridges = sorted({each.segment.bridge for each in scene.state.networks() if each.made})
    for bridge in bridges:
        network = _uplinked(scene, bridge)
        uplink = network.segment.uplink if network is not None else None
        seen = _uplink(scene, network) if network is not None else None
        if uplink is not None and seen is not None and seen.fault:
            yield (
                f"uplink {'+'.join(uplink.nics)} of bridge {bridge}: {seen.fault}, so its "
                "networks end on this host"
            )


def _equal_macs(scene: Scene) -> Iterator[str]:
    """Tell of MACs that two containers of one VLAN have: frames for either go to either."""
    found: dict[tuple[str, str], list[EndpointId]] = {}
    for network in scene.state.networks():
        segment = network.segment
        for each in scene.state.endpoints(network.id):
            own = desired.own_vlan(network, each)
            if each.sandbox is not None and not each.ended and own is not None:
                where = f"VLAN {own or 'none'} of bridge {segment.bridge}"
                place = (segment.name if segment.by_ovn else where, names.mac_text(each.mac))
                found.setdefault(place, []).append(each.id)
    for (where, mac), several in found.items():
        if len(several) > 1:
            who = [container_name(each, scene.view) or each[:12] for each in several]
            yield (
                f"containers {', '.join(sorted(who))} have the same MAC address {mac} in {where}, "
                "so neither is reached reliably; start one with another --mac-address"
            )


def _orphan_pools(scene: Scene) -> Iterator[tuple[Pool, int]]:
    if scene.view is None:
        return
    claims = Claims(scene.view, scene.state.networks())
    for pool in scene.pools:
        unbound = scene.state.network_of_pool(pool.id) is None
        if unbound and scene.now - pool.created >= SETTLING_S and not claims.possible(pool):
            yield pool, scene.leases.get(pool.id, 0)


def _unasked_pools(scene: Scene) -> Iterator[Pool]:
    """Give the pools that want the segment to be asked and have another driver's network."""
    claims = None if scene.view is None else Claims(scene.view, scene.state.networks())
    for pool in scene.pools:
        unbound = pool.probe and scene.state.network_of_pool(pool.id) is None
        if unbound and claims is not None and claims.certain(pool):
            yield pool


def _orphan(network: Network, view: EngineView | None) -> bool:
    """Whether the daemon that made the network, or may have made it, does not list it."""
    return view is not None and network.id not in view.networks and network.engine in ("", view.id)


def _network(scene: Scene, network: Network, patches: Sequence[Asked]) -> NetworkReport:
    bridge, vlan = network.segment.bridge, network.segment.tag
    joined = patching.joined(patches, bridge, vlan)
    gateway = names.gateway_link(network.id) if network.on_this_host else None
    view = scene.view
    return NetworkReport(
        network=network,
        name=network_name(network.id, view),
        state=_network_state(scene, network, gateway),
        in_docker=None if view is None else network.id in view.networks,
        gateway_link=gateway,
        probe_link=_probe_link(scene, network),
        uplink=_uplink(scene, network),
        joined=tuple(sorted(joined - {bridge})),
        wired=len(joined) > 1 and _wired(scene, joined, vlan),
        pulled=tuple(sorted(patching.joined(patches, bridge, vlan, pulled=True) - joined)),
        endpoints=len(scene.state.endpoints(network.id)),
    )


def _wired(scene: Scene, bridges: frozenset[str], vlan: int | None) -> bool:
    """Whether a network in a VLAN of one of these bridges has an uplink."""
    return any(
        each.segment.uplink is not None
        and each.segment.bridge in bridges
        and vlan in each.segment.vlans
        and not each.ended
        for each in scene.state.networks()
    )


def _probe_link(scene: Scene, network: Network) -> str | None:
    probe = desired.probe(network, owner=scene.owner)
    return probe.port.name if probe is not None else None


def _uplink(scene: Scene, network: Network) -> UplinkReport | None:
    uplink = network.segment.uplink
    if uplink is None:
        return None
    bridge = scene.switch.bridges().get(network.segment.bridge)
    ports = bridge.ports if bridge is not None else ()
    port = next((each for each in ports if set(each.interfaces) & set(uplink.nics)), None)
    known = scene.switch.status().connected
    wire = desired.uplink_ports(scene.state.networks(), owner=scene.owner).get(
        network.segment.bridge
    )
    return UplinkReport(
        port="" if port is None else port.name,
        vlans=_vlans(port),
        fault=port_fault(port) if known and not network.ended else "",
        pulled=wire is not None and not wire.up,
        rate=wire.rate if wire is not None else 0,
    )


def _vlans(port: ObservedPort | None) -> tuple[int, ...]:
    if port is None:
        return ()
    if port.tag is not None and not port.trunks:
        return (port.tag,)
    return port.trunks


def network_name(network: NetworkId, view: EngineView | None) -> str:
    """Return Docker's name of a network; empty if it is not known."""
    return "" if view is None else view.networks.get(network, "")


def container_name(endpoint: EndpointId, view: EngineView | None) -> str:
    """Return the name of an endpoint's container; empty if it is not known."""
    listed = None if view is None else view.endpoints.get(endpoint)
    return "" if listed is None else listed.container


def _network_state(scene: Scene, network: Network, gateway: str | None) -> str:
    if network.ended:
        return "ending"
    if not scene.switch.status().connected:
        return "unknown"
    if scene.switch.bridge(network.segment.bridge) is None:
        return "broken"
    if gateway is not None and port_fault(scene.switch.port(gateway)):
        return "broken"
    return "ready"


def _receivers(scene: Scene) -> Mapping[tuple[str, str], EndpointId]:
    """Return who gets the copies, by bridge and word of ``ovs.sink``."""
    networks = {each.id: each for each in scene.state.networks()}
    endpoints = scene.state.endpoints()
    bridges = {
        networks[each.network].segment.bridge
        for each in endpoints
        if each.network in networks and mirroring.sink(networks[each.network], each)
    }
    return {
        (bridge, word): endpoint.id
        for bridge in bridges
        for word, endpoint in mirroring.receivers(bridge, networks.values(), endpoints).items()
    }


def _copies(
    network: Network, endpoint: Endpoint, receivers: Mapping[tuple[str, str], EndpointId]
) -> str:
    """Return what an endpoint has of its ``ovs.sink``, for people; empty: it has none."""
    word = mirroring.sink(network, endpoint)
    receiver = receivers.get((network.segment.bridge, word)) if word else None
    if receiver is None or endpoint.sandbox is None:
        return ""
    if receiver == endpoint.id:
        return f"gets what is led to {word}"
    return (
        f"gets nothing: endpoint {receiver[:12]} has ovs.sink={word} too and a lower address; "
        "give one of them another word"
    )


def _endpoint(
    scene: Scene,
    network: Network,
    endpoint: Endpoint,
    receivers: Mapping[tuple[str, str], EndpointId],
) -> EndpointReport:
    name = names.port(endpoint)
    port = scene.switch.port(name)
    state, fault = endpoint_state(
        endpoint, port, connected=scene.switch.status().connected, lost=scene.lost
    )
    unpublished = _unpublished(scene, endpoint)
    return EndpointReport(
        endpoint=endpoint,
        port=desired.port_options(network, endpoint),
        bridge=network.segment.bridge,
        network_name=network_name(network.id, scene.view),
        container=container_name(endpoint.id, scene.view),
        state=state,
        fault=fault,
        trunked_networks=tuple(
            each.id
            for each in port_planning.others_carried(endpoint, network, scene.state.networks())
        ),
        copies=_copies(network, endpoint, receivers),
        port_name=name,
        ofport=None if port is None else port.ofport,
        interface=scene.interfaces.get(endpoint.id, ""),
        name_not_given=_name_not_given(scene, endpoint),
        excess=scene.excesses.get(endpoint.id, ""),
        reserved=tuple(
            each.at
            for each in endpoint.published
            if each.at in scene.held and each.count <= publishing.MOST_HELD
        ),
        unpublished=unpublished,
        unpublished_why=_why_unpublished(endpoint, network) if unpublished else "",
    )


def endpoint_state(
    endpoint: Endpoint,
    port: ObservedPort | None,
    *,
    connected: bool,
    lost: Mapping[EndpointId, str],
) -> tuple[str, str]:
    """Return the ``state`` and the ``fault`` of an :class:`EndpointReport`."""
    if endpoint.ended:
        return "ending", ""
    if endpoint.sandbox is None:
        return "created", ""
    if not connected:
        return "unknown", ""
    fault = lost.get(endpoint.id) or port_fault(port, elsewhere=endpoint.internal)
    return ("broken" if fault else "attached"), fault


def _name_not_given(scene: Scene, endpoint: Endpoint) -> str:
    wanted, view = endpoint.interface, scene.view
    if not wanted or view is None or scene.interfaces.get(endpoint.id) == wanted:
        return ""
    if interface_names.given_by(view.version):
        return ""
    return interface_names.not_given(wanted, view.version)


def port_fault(port: ObservedPort | None, *, elsewhere: bool = False) -> str:
    """Return what is wrong with a port that should work.

    Of a device that is ``elsewhere``, in a container, vswitchd knows nothing.
    """
    if port is None:
        return "the port is not on the bridge"
    if port.error:
        return port.error
    if port.ofport is None:
        return "ovs-vswitchd has not taken the port; is it running?"
    # A device that vanished keeps its ofport; only its index goes to 0.
    if port.ofport < 0 or (port.ifindex == 0 and not elsewhere):
        return "the device is gone"
    return ""
