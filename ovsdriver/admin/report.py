"""What there is, for people and for scripts: records, switch and Docker's names side by side.

Pure: everything is read from what is in memory already, so a report costs no waiting and may be
made at any time. The dataclasses are the admin socket's JSON, member by member.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ipam.model import Pool, PoolId
from ovsdriver.admin.ipam_report import SETTLING_S
from ovsdriver.domain.plan import port_planning, tunnels
from ovsdriver.domain.records import names, vlans
from ovsdriver.domain.records.model import Endpoint, EndpointId, HostPort, Network
from ovsdriver.domain.records.port_options import PortKind
from ovsdriver.domain.traffic import publishing
from ovsdriver.domain.wires import desired, interface_names, mirroring
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedPort
from ovsdriver.ports import EngineView, State, SwitchView
from ovsdriver.service.forgotten.pool_claims import Claims


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetReport:
    """A subnet of a network."""

    cidr: str
    gateway: str | None
    space: str
    pool: str | None
    """Id in our IPAM; None: another IPAM's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkReport:
    """What leads from a network's bridge to the wire."""

    nics: tuple[str, ...]
    port: str
    """Its name on the bridge; empty if it is not there."""
    ours: bool
    """We made it a port; else the administrator has, and it stays as it is."""
    bond: str
    """Empty: it is one NIC, or the administrator's."""
    lacp: str
    vlans: tuple[int, ...]
    """What it lets through, 0 being frames without a tag; empty: everything."""
    host: bool
    """The host's addresses and routes were moved from the NIC to the bridge's own port."""
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkReport:
    """A network."""

    id: str
    name: str
    """Docker's; empty if it is not known (yet)."""
    state: str
    """``ready``; ``ending``: being removed; ``broken``: its gateway or bridge is not there;
    ``unknown``: Open vSwitch does not answer."""
    in_docker: bool | None
    """None: Docker has not answered yet."""
    bridge: str
    vlan: int
    """0: untagged frames only."""
    adopted: bool
    datapath: str
    mode: str
    mode6: str | None = None
    """Of its IPv6 subnets, where that is another."""
    internal: bool
    shared: bool
    mtu: int
    subnets: tuple[SubnetReport, ...]
    gateway_link: str | None
    """The gateway's device on this host."""
    probe_link: str | None = None
    """The device that addresses are asked from, where there is no gateway to do so."""
    uplink: UplinkReport | None = None
    tunnel: bool = False
    """QinQ: containers' own tags travel below the network's."""
    cvlans: tuple[int, ...] = ()
    """Those tags; empty: all."""
    endpoints: int
    options: Mapping[str, str]
    engine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedReport:
    """A port of this host that leads to a container."""

    protocol: str
    host: str
    """``0.0.0.0`` and ``::``: every address of the host, of that family."""
    host_port: int
    address: str
    """The container's."""
    port: int
    count: int = 1
    """Of both ports on."""
    reserved: bool
    """Kept from other programs of this host."""
    instead_of: str | None = None
    """Id of the container's endpoint that has its gateway: the container sees this network's as
    its client. None: it is this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointReport:
    """A container's place on a network."""

    id: str
    network: str
    network_name: str
    container: str
    """Its name, as far as Docker told it."""
    state: str
    """``attached``; ``created``: not joined; ``ending``: being removed; ``broken``: see ``fault``;
    ``unknown``: Open vSwitch does not answer."""
    fault: str
    addresses: tuple[str, ...]
    mac: str
    mtu: int
    bridge: str
    vlan: int | None
    """Of untagged frames; 0: they are in no VLAN; None: it takes none (a trunk)."""
    vlan_mode: str = "access"
    cvlans: tuple[int, ...] = ()
    """Of ``dot1q-tunnel``: the tags that may travel below the port's; empty: all."""
    trunks: tuple[int, ...] = ()
    """VLANs that it sees tagged."""
    trunked_networks: tuple[str, ...] = ()
    """Ids of the other networks of ours that are among them."""
    protected: bool = False
    copies: str = ""
    """Whether it gets copies of packets by its ``ovs.sink``, or who does; empty: it has none."""
    port: str
    """Its name on the bridge, and of the device."""
    port_kind: str = "veth"
    ofport: int | None
    sandbox: str | None
    interface: str = ""
    """Its name in the container; empty until it was seen there."""
    name_not_given: str = ""
    """Why the interface has not the name that was asked for; empty: it has, or none was."""
    excess: str = ""
    """What of the interface would not be put back if it were lost."""
    published: tuple[PublishedReport, ...] = ()
    unpublished: tuple[str, ...] = ()
    """What Docker asked for and no network of the container publishes: ``80/tcp``."""
    unpublished_why: str = ""
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """A pool of our IPAM."""

    id: str
    space: str
    subnet: str
    window: str | None
    automatic: bool
    addresses: int
    """In use."""
    network: str | None
    """Id of the network that it is bound to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeReport:
    """A bridge that carries a network of ours, or our mark."""

    name: str
    there: bool
    owned: bool
    datapath: str
    ports: int
    our_ports: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of it."""

    networks: tuple[NetworkReport, ...] = ()
    endpoints: tuple[EndpointReport, ...] = ()
    pools: tuple[PoolReport, ...] = ()
    bridges: tuple[BridgeReport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchReport:
    """Open vSwitch."""

    connected: bool = False
    version: str = ""
    datapaths: tuple[str, ...] = ()
    """Of the bridges that we made. What vswitchd offers says little: it lists ``system`` always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerReport:
    """Docker's daemon."""

    answered: bool = False
    version: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MendedReport:
    """Something that was put right."""

    at: float
    """Seconds since the epoch."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """A look at everything, the last one unless it was asked for."""

    at: float = 0.0
    """Seconds since the epoch; 0: no look yet."""
    found: tuple[str, ...] = ()
    """Not as recorded; then mended or failed, unless nothing was to be done."""
    mended: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    """Seen, and not ours to mend."""
    lately: tuple[MendedReport, ...] = ()
    """What earlier looks mended, the newest first."""
    doubted: tuple[str, ...] = ()
    """What is removed if Docker goes on not listing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many of each."""

    networks: int = 0
    endpoints: int = 0
    pools: int = 0
    leases: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The process as a whole, in a few lines."""

    version: str
    pid: int
    started: float
    """Seconds since the epoch."""
    uptime_s: float
    instance: str = ""
    degraded: str = ""
    """Why only a part of the work is done; empty: all is well."""
    open_vswitch: SwitchReport = SwitchReport()
    docker: DockerReport = DockerReport()
    counts: Counts | None = None
    """None: the store could not be read."""
    uplinks: tuple[str, ...] = ()
    """A phrase for each: its NICs, its bridge, what it carries."""
    repairs: RepairReport = RepairReport()
    warnings: tuple[str, ...] = ()


def report(scene: Scene) -> Report:
    """Return everything there is: networks by name, their endpoints by address."""
    state = scene.state
    networks = sorted(state.networks(), key=lambda each: (_name(each, scene.view), each.id))
    receivers = _receivers(scene)
    return Report(
        networks=tuple(_network(scene, each) for each in networks),
        endpoints=tuple(
            _endpoint(scene, network, each, receivers)
            for network in networks
            for each in sorted(state.endpoints(network.id), key=desired.by_address)
        ),
        pools=tuple(_pool(scene, each) for each in scene.pools),
        bridges=tuple(_bridges(scene)),
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
    return Counts(
        networks=len(scene.state.networks()),
        endpoints=len(scene.state.endpoints()),
        pools=len(scene.pools),
        leases=sum(scene.leases.values()),
    )


def uplinks(scene: Scene) -> tuple[str, ...]:
    """Return a phrase for each uplink: its NICs, its bridge, what it carries."""
    networks = {each.segment.bridge: each for each in scene.state.networks() if not each.ended}
    found = []
    for bridge, network in sorted(networks.items()):
        seen = _uplink(scene, _uplinked(scene, bridge) or network)
        if seen is not None:
            carried = vlans.text(each for each in seen.vlans if each)
            untagged = "untagged frames" if 0 in seen.vlans else ""
            what = " and ".join(filter(None, (f"VLAN {carried}" if carried else "", untagged)))
            found.append(
                f"{'+'.join(seen.nics)} on {bridge} carries "
                f"{what or ('all VLANs' if seen.port else 'nothing')}"
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
    tunnelled = [each.id[:12] for each in networks if each.port.tunnels and not each.ended]
    state = scene.switch.status()
    if tunnelled and state.connected and not tunnels.looks_at_two(state.other_config):
        found.append(
            f"network {', '.join(tunnelled)}: Open vSwitch looks at one VLAN tag of a frame by "
            "now, so tunnels do not work: ovs-vsctl set Open_vSwitch . other_config:vlan-limit=2"
        )
    adopted = {each.segment.bridge for each in networks if each.segment.adopted}
    for bridge in map(scene.switch.bridge, sorted(adopted)):
        if bridge is not None and (bridge.controllers or bridge.fail_mode == "secure"):
            why = "has a controller" if bridge.controllers else "has fail_mode=secure"
            found.append(
                f"bridge {bridge.name} {why}: VLAN tags act only through the NORMAL action, so "
                "its flows decide what reaches our ports"
            )
    return tuple(found)


def _unpublished_warnings(scene: Scene) -> Iterator[str]:
    for each in scene.state.endpoints():
        network = scene.state.network(each.network)
        ports = _unpublished(scene, each)
        if ports and network is not None:
            more = f" and {len(ports) - 5} more" if len(ports) > 5 else ""
            yield (
                f"endpoint {each.id[:12]}: {', '.join(ports[:5])}{more} of -p not published: "
                f"{_why_unpublished(each, network)}"
            )


def _unpublished(scene: Scene, endpoint: Endpoint) -> tuple[str, ...]:
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
    return tuple(each for each in endpoint.unpublished if each not in done)


def _why_unpublished(endpoint: Endpoint, network: Network) -> str:
    return endpoint.unpublished_why or port_planning.why_unpublished(endpoint, network)


def _uplink_warnings(scene: Scene) -> Iterator[str]:
    bridges = sorted({each.segment.bridge for each in scene.state.networks() if each.made})
    for bridge in bridges:
        network = _uplinked(scene, bridge)
        uplink = _uplink(scene, network) if network is not None else None
        if uplink is not None and uplink.fault:
            yield (
                f"uplink {'+'.join(uplink.nics)} of bridge {bridge}: {uplink.fault}, so its "
                "networks end on this host"
            )


def _equal_macs(scene: Scene) -> Iterator[str]:
    """Tell of MACs that two containers of one VLAN have: frames for either go to either."""
    found: dict[tuple[str, int, str], list[EndpointId]] = {}
    for network in scene.state.networks():
        for each in scene.state.endpoints(network.id):
            own = desired.own_vlan(network, each)
            if each.sandbox is not None and not each.ended and own is not None:
                place = (network.segment.bridge, own, names.mac_text(each.mac))
                found.setdefault(place, []).append(each.id)
    listed = scene.view.endpoints if scene.view is not None else {}
    for (bridge, vlan, mac), several in found.items():
        if len(several) > 1:
            who = [listed[each].container if each in listed else each[:12] for each in several]
            yield (
                f"containers {', '.join(sorted(who))} have the same MAC address {mac} in VLAN "
                f"{vlan or 'none'} of bridge {bridge}, so neither is reached reliably; start one "
                "with another --mac-address"
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


def _network(scene: Scene, network: Network) -> NetworkReport:
    gateway = (
        names.gateway_link(network.id)
        if network.mode.has_gateway and any(each.gateway for each in network.subnets)
        else None
    )
    view = scene.view
    return NetworkReport(
        id=network.id,
        name=_name(network, view),
        state=_network_state(scene, network, gateway),
        in_docker=None if view is None else network.id in view.networks,
        bridge=network.segment.bridge,
        vlan=network.segment.tag,
        adopted=network.segment.adopted,
        datapath=network.segment.datapath.value,
        mode=network.mode.value,
        mode6=network.mode6.value if network.mode6 is not None else None,
        internal=network.internal,
        shared=network.shared,
        mtu=network.mtu,
        subnets=tuple(
            SubnetReport(
                cidr=str(each.cidr.cidr),
                gateway=None if each.gateway is None else str(each.gateway),
                space=each.space,
                pool=each.pool,
            )
            for each in network.subnets
        ),
        gateway_link=gateway,
        probe_link=_probe_link(scene, network),
        uplink=_uplink(scene, network),
        tunnel=network.port.tunnels,
        cvlans=network.port.cvlans,
        endpoints=len(scene.state.endpoints(network.id)),
        options=dict(network.options),
        engine=network.engine,
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
    return UplinkReport(
        nics=uplink.nics,
        port="" if port is None else port.name,
        ours=not uplink.given,
        bond=uplink.bond.value if uplink.bond else "",
        lacp=uplink.lacp.value if uplink.bond else "",
        vlans=_vlans(port),
        host=uplink.host is not None,
        fault=_fault(port) if known and not network.ended else "",
    )


def _vlans(port: ObservedPort | None) -> tuple[int, ...]:
    if port is None:
        return ()
    if port.tag is not None and not port.trunks:
        return (port.tag,)
    return port.trunks


def _name(network: Network, view: EngineView | None) -> str:
    return "" if view is None else view.networks.get(network.id, "")


def _network_state(scene: Scene, network: Network, gateway: str | None) -> str:
    if network.ended:
        return "ending"
    if not scene.switch.status().connected:
        return "unknown"
    if scene.switch.bridge(network.segment.bridge) is None:
        return "broken"
    if gateway is not None and _fault(scene.switch.port(gateway)):
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
    fault = ""
    if endpoint.ended:
        state = "ending"
    elif endpoint.sandbox is None:
        state = "created"
    elif not scene.switch.status().connected:
        state = "unknown"
    else:
        fault = scene.lost.get(endpoint.id) or _fault(port, elsewhere=endpoint.internal)
        state = "broken" if fault else "attached"
    listed = None if scene.view is None else scene.view.endpoints.get(endpoint.id)
    unpublished = _unpublished(scene, endpoint)
    return EndpointReport(
        id=endpoint.id,
        network=network.id,
        network_name=_name(network, scene.view),
        container="" if listed is None else listed.container,
        state=state,
        fault=fault,
        addresses=tuple(map(str, endpoint.addresses)),
        mac=names.mac_text(endpoint.mac),
        mtu=desired.mtu(network, endpoint),
        bridge=network.segment.bridge,
        vlan=desired.own_vlan(network, endpoint),
        vlan_mode=desired.vlan_mode(network, endpoint).value,
        cvlans=desired.cvlans(network, endpoint),
        trunks=desired.trunks(network, endpoint),
        trunked_networks=tuple(
            each.id
            for each in port_planning.others_carried(endpoint, network, scene.state.networks())
        ),
        protected=endpoint.protected,
        copies=_copies(network, endpoint, receivers),
        port=name,
        port_kind=(endpoint.port.kind or PortKind.VETH).value,
        ofport=None if port is None else port.ofport,
        sandbox=endpoint.sandbox,
        interface=scene.interfaces.get(endpoint.id, ""),
        name_not_given=_name_not_given(scene, endpoint),
        excess=scene.excesses.get(endpoint.id, ""),
        published=tuple(
            PublishedReport(
                protocol=each.protocol.word,
                host=str(each.host),
                host_port=each.host_port,
                address=str(each.address),
                port=each.port,
                count=each.count,
                reserved=each.at in scene.held and each.count <= publishing.MOST_HELD,
                instead_of=each.instead_of,
            )
            for each in endpoint.published
        ),
        unpublished=unpublished,
        unpublished_why=_why_unpublished(endpoint, network) if unpublished else "",
        options=dict(endpoint.options),
    )


def _name_not_given(scene: Scene, endpoint: Endpoint) -> str:
    wanted, view = endpoint.interface, scene.view
    if not wanted or view is None or scene.interfaces.get(endpoint.id) == wanted:
        return ""
    if interface_names.given_by(view.version):
        return ""
    return interface_names.not_given(wanted, view.version)


def _fault(port: ObservedPort | None, *, elsewhere: bool = False) -> str:
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


def _pool(scene: Scene, pool: Pool) -> PoolReport:
    network = scene.state.network_of_pool(pool.id)
    return PoolReport(
        id=pool.id,
        space=pool.space,
        subnet=str(pool.subnet),
        window=None if pool.window is None else str(pool.window),
        automatic=pool.automatic,
        addresses=scene.leases.get(pool.id, 0),
        network=None if network is None else network.id,
    )


def _bridges(scene: Scene) -> Sequence[BridgeReport]:
    observed = scene.switch.bridges()
    wanted = {each.segment.bridge: each for each in scene.state.networks()}
    owned = {name for name, bridge in observed.items() if bridge.owned}
    return [
        _bridge(
            scene, name, observed.get(name), adopted=name in wanted and wanted[name].segment.adopted
        )
        for name in sorted(wanted.keys() | owned)
    ]


def _bridge(
    scene: Scene, name: str, bridge: ObservedBridge | None, *, adopted: bool
) -> BridgeReport:
    if bridge is None:
        return BridgeReport(
            name=name, there=False, owned=not adopted, datapath="", ports=0, our_ports=0
        )
    ours = [each for each in bridge.ports if each.external_ids.get(names.OWNER_KEY) == scene.owner]
    return BridgeReport(
        name=name,
        there=True,
        owned=bridge.owned,
        datapath=bridge.datapath.value,
        ports=len(bridge.ports),
        our_ports=len(ours),
    )
