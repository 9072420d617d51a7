"""The picture of what is connected to what, of what a report says and the switch has. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath

from ovsdriver.admin.graph.views import Condition, Edge, Graph, Kind, Node, Tier
from ovsdriver.admin.networks.report import Scene, port_fault, report
from ovsdriver.admin.views import EndpointReport, NetworkReport
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.options import vlans
from ovsdriver.domain.records.options.port_options import Cable
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.domain.wires import patching
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedPort, Traffic
from ovsdriver.domain.wires.patching import Asked

WORLD = "outside"
HOST = "host"
GWBRIDGE = "docker_gwbridge"

SINGLY = 12
"""Ports of others on one bridge that are shown each for itself; more are one node together."""

_UPLINK_PULLED = "its cable is pulled: ovs.uplink_link=down"

_CONDITIONS = {
    "ready": Condition.UP,
    "attached": Condition.UP,
    "broken": Condition.BROKEN,
    "unknown": Condition.UNKNOWN,
}


def graph(
    scene: Scene,
    *,
    peers: Mapping[str, Sequence[str]],
    traffic: Mapping[str, Traffic] | None = None,
) -> Graph:
    """Return all networks of ours with what they hang on.

    Args:
        scene: what a report is made of.
        peers: other hosts by the segments that they have networks on.
        traffic: by device of this host, as far as it is known.
    """
    said = report(scene)
    drawing = _Drawing(scene, traffic or {})
    for network in said.networks:
        drawing.network(network)
    for segment, hosts in peers.items():
        drawing.peers(segment, hosts)
    for endpoint in said.endpoints:
        drawing.endpoint(endpoint)
    drawing.bridges()
    return drawing.done()


class _Drawing:
    def __init__(self, scene: Scene, traffic: Mapping[str, Traffic]) -> None:
        self._scene = scene
        self._traffic = traffic
        self._known = scene.switch.status().connected
        self._bridges = scene.switch.bridges()
        self._nodes: dict[str, Node] = {}
        self._edges: dict[str, Edge] = {}
        self._networks: dict[str, list[NetworkReport]] = defaultdict(list)
        """By bridge."""

    def done(self) -> Graph:
        tiers = {tier: place for place, tier in enumerate(Tier)}
        return Graph(
            nodes=tuple(sorted(self._nodes.values(), key=lambda each: tiers[each.tier])),
            edges=tuple(self._edges.values()),
        )

    def network(self, said: NetworkReport) -> None:
        network = said.network
        bridge = network.segment.bridge
        self._networks[bridge].append(said)
        node = self._node(
            Node(
                id=f"network:{network.id}",
                tier=Tier.NETWORK,
                kind=Kind.NETWORK,
                name=said.name or network.id[:12],
                condition=_condition(said.state),
                why=self._wrong(said) if said.state == "broken" else "",
                notes=(
                    *(str(each.cidr.cidr) for each in network.subnets),
                    " / ".join(sorted({each.value for each in network.modes})),
                ),
            )
        )
        self._edge(
            Kind.VLAN,
            outer=f"bridge:{bridge}",
            inner=node,
            what=network.id,
            label=network.segment.name,
        )
        if network.mode is Mode.GWBRIDGE:
            self._edge(
                Kind.WAY, outer=self._gwbridge(), inner=node, what=f"{GWBRIDGE}/{network.id}"
            )
        router = network.segment.router
        if router is not None:
            known = Node(
                id=f"router:{router.name}", tier=Tier.BRIDGE, kind=Kind.ROUTER, name=router.name
            )
            self._edge(
                Kind.WAY,
                outer=self._node(known),
                inner=node,
                what=f"router/{network.id}",
                label=", ".join(str(each.ip) for each in router.gateways),
            )

    def peers(self, segment: str, hosts: Iterable[str]) -> None:
        """Draw the other hosts of a segment, by the bridge of this host's network on it."""
        here = [
            each.network.segment
            for found in self._networks.values()
            for each in found
            if each.network.over_hosts == segment
        ]
        for host in hosts if here else ():
            peer = self._node(Node(id=f"peer:{host}", tier=Tier.OUTSIDE, kind=Kind.PEER, name=host))
            # Segments on a VLAN of the wire have an uplink, and others are beyond that.
            if isinstance(here[0], OvnSegment):
                self._edge(
                    Kind.TUNNEL,
                    outer=peer,
                    inner=f"bridge:{here[0].bridge}",
                    what=f"{host}/{here[0].bridge}",
                    label="tunnel",
                )

    def endpoint(self, said: EndpointReport) -> None:
        endpoint = said.endpoint
        where = PurePath(endpoint.sandbox).name if endpoint.sandbox else endpoint.id
        home = f"network:{endpoint.network}"
        node = f"container:{where}"
        condition, why = _of_endpoint(said)
        before = self._nodes.get(node)
        self._nodes[node] = Node(
            id=node,
            tier=Tier.CONTAINER,
            kind=Kind.CONTAINER,
            name=said.container or (before.name if before else endpoint.id[:12]),
            condition=_worse(condition, before.condition if before else condition),
            why=why or (before.why if before else ""),
            notes=(
                *(before.notes if before else ()),
                *(str(each.ip) for each in endpoint.addresses),
                *(f"published: {each.host_text}" for each in endpoint.published),
            ),
        )
        away = said.port.vlan not in (None, self._tag(said))
        self._edge(
            Kind.ENDPOINT,
            outer=home,
            inner=node,
            what=endpoint.id,
            condition=condition,
            why=why,
            label=f"VLAN {said.port.vlan or 'none'}" if away else "",
            links=(said.port_name,),
        )

    def _tag(self, said: EndpointReport) -> int | None:
        home = self._scene.state.network(said.endpoint.network)
        return None if home is None else home.segment.tag

    def bridges(self) -> None:
        for name, networks in self._networks.items():
            observed = self._bridges.get(name)
            gone = self._known and observed is None
            segment = networks[0].network.segment
            condition = Condition.UP if self._known else Condition.UNKNOWN
            bridge = self._node(
                Node(
                    id=f"bridge:{name}",
                    tier=Tier.BRIDGE,
                    kind=Kind.BRIDGE,
                    name=name,
                    condition=Condition.BROKEN if gone else condition,
                    why="the bridge is not there" if gone else "",
                    notes=(
                        "adopted" if segment.adopted else "made by ovsnet",
                        f"datapath {segment.datapath.value}",
                    ),
                )
            )
            self._uplinks(bridge, networks)
            self._gateways(bridge, networks)
            if observed is not None:
                self._foreign(bridge, observed, networks)
        for pair in patching.asked(self._scene.state.networks()):
            self._patch(pair)

    def _patch(self, pair: Asked) -> None:
        one, other = pair.bridges
        if not {one, other} <= self._networks.keys():
            return
        ports = names.patch_port(one, other), names.patch_port(other, one)
        seen = [port_fault(self._scene.switch.port(each), elsewhere=True) for each in ports]
        fault = next(filter(None, seen), "")
        carried = vlans.text(sorted(each for each in pair.vlans if each))
        self._edge(
            Kind.PATCH,
            outer=f"bridge:{one}",
            inner=f"bridge:{other}",
            what=f"{one}/{other}",
            condition=Condition.PULLED if pair.pulled else self._judged(fault),
            why="its cable is pulled: ovs.patch_link=down" if pair.pulled else fault,
            label=f"VLAN {carried}" if carried else "",
        )

    def _uplinks(self, bridge: str, networks: Sequence[NetworkReport]) -> None:
        with_one = [each for each in networks if each.uplink and each.network.segment.uplink]
        for said in with_one[:1]:
            uplink, seen = said.network.segment.uplink, said.uplink
            assert uplink is not None  # noqa: S101 - chosen by it
            assert seen is not None  # noqa: S101
            condition = Condition.PULLED if seen.pulled else self._judged(seen.fault)
            why = _UPLINK_PULLED if seen.pulled else seen.fault
            carried = vlans.text(each for each in seen.vlans if each)
            for nic in uplink.nics:
                node = self._node(
                    Node(
                        id=f"nic:{nic}",
                        tier=Tier.NIC,
                        kind=Kind.NIC,
                        name=nic,
                        condition=condition,
                        why=why,
                        notes=(f"bond of {'+'.join(uplink.nics)}",) if uplink.bond else (),
                    )
                )
                self._edge(
                    Kind.UPLINK,
                    outer=node,
                    inner=bridge,
                    what=f"{bridge}/{nic}",
                    condition=condition,
                    why=why,
                    label=f"VLAN {carried}" if carried else "",
                    links=(nic,),
                )
                self._edge(Kind.WAY, outer=self._world(), inner=node, what=f"{WORLD}/{nic}")

    def _gateways(self, bridge: str, networks: Sequence[NetworkReport]) -> None:
        links = [each.gateway_link for each in networks if each.gateway_link]
        if not links:
            return
        faults = [f"{each}: {why}" for each in links if (why := self._fault(each))]
        self._edge(
            Kind.GATEWAYS,
            outer=self._host(),
            inner=bridge,
            what=bridge,
            condition=self._judged("; ".join(faults)),
            why="; ".join(faults) if self._known else "",
            label="gateway" if len(links) == 1 else f"{len(links)} gateways",
            links=tuple(links),
        )

    def _foreign(
        self, bridge: str, observed: ObservedBridge, networks: Sequence[NetworkReport]
    ) -> None:
        nics = {
            nic
            for each in networks
            if (uplink := each.network.segment.uplink)
            for nic in uplink.nics
        }
        others = sorted(self._others(observed, nics), key=lambda each: each.name)
        groups = [[each] for each in others] if len(others) <= SINGLY else [others]
        for group in groups:
            alone = len(group) == 1
            node = self._node(
                Node(
                    id=f"port:{observed.name}/{group[0].name if alone else '*'}",
                    tier=Tier.NIC,
                    kind=Kind.FOREIGN,
                    name=group[0].name if alone else f"{len(group)} ports of others",
                    condition=Condition.FOREIGN,
                    notes=() if alone else tuple(each.name for each in group),
                )
            )
            tag = group[0].tag
            self._edge(
                Kind.FOREIGN,
                outer=node,
                inner=bridge,
                what=node,
                condition=Condition.FOREIGN,
                label=f"VLAN {tag}" if alone and tag else "",
                links=tuple(each.name for each in group),
            )

    def _others(self, observed: ObservedBridge, nics: set[str]) -> Iterator[ObservedPort]:
        for each in observed.ports:
            mine = each.external_ids.get(names.OWNER_KEY) == self._scene.owner
            if not mine and not nics & set(each.interfaces):
                yield each

    def _wrong(self, said: NetworkReport) -> str:
        bridge = said.network.segment.bridge
        if bridge not in self._bridges:
            return f"the bridge {bridge} is not there"
        return f"its gateway: {self._fault(said.gateway_link)}" if said.gateway_link else ""

    def _fault(self, link: str) -> str:
        return port_fault(self._scene.switch.port(link)) if self._known else ""

    def _judged(self, fault: str) -> Condition:
        if not self._known:
            return Condition.UNKNOWN
        return Condition.BROKEN if fault else Condition.UP

    def _world(self) -> str:
        return self._node(Node(id=WORLD, tier=Tier.OUTSIDE, kind=Kind.WORLD, name="outside"))

    def _host(self) -> str:
        host = self._node(Node(id=HOST, tier=Tier.NIC, kind=Kind.HOST, name="this host"))
        self._edge(Kind.WAY, outer=self._world(), inner=host, what=f"{WORLD}/{HOST}")
        return host

    def _gwbridge(self) -> str:
        node = Node(id=GWBRIDGE, tier=Tier.NIC, kind=Kind.GWBRIDGE, name=GWBRIDGE)
        self._edge(
            Kind.WAY, outer=self._world(), inner=self._node(node), what=f"{WORLD}/{GWBRIDGE}"
        )
        return node.id

    def _node(self, node: Node) -> str:
        self._nodes.setdefault(node.id, node)
        return node.id

    def _edge(
        self,
        kind: Kind,
        *,
        outer: str,
        inner: str,
        what: str,
        condition: Condition = Condition.UP,
        why: str = "",
        label: str = "",
        links: tuple[str, ...] = (),
    ) -> None:
        edge = Edge(
            id=f"{kind.value}:{what}",
            kind=kind,
            outer=outer,
            inner=inner,
            condition=condition,
            why=why,
            label=label,
            links=links,
            traffic=self._passed(links),
        )
        self._edges.setdefault(edge.id, edge)

    def _passed(self, links: Iterable[str]) -> Traffic | None:
        found = [self._traffic[each] for each in links if each in self._traffic]
        if not found:
            return None
        return Traffic(
            received_bytes=sum(each.received_bytes for each in found),
            received_packets=sum(each.received_packets for each in found),
            received_dropped=sum(each.received_dropped for each in found),
            sent_bytes=sum(each.sent_bytes for each in found),
            sent_packets=sum(each.sent_packets for each in found),
            sent_dropped=sum(each.sent_dropped for each in found),
        )


def _condition(state: str) -> Condition:
    return _CONDITIONS.get(state, Condition.WAITING)


def _of_endpoint(said: EndpointReport) -> tuple[Condition, str]:
    """Return how an endpoint is, and why it is not up."""
    condition = _condition(said.state)
    if condition is Condition.UP and said.port.cable is Cable.DOWN:
        return Condition.PULLED, "its cable is pulled: ovs.link=down"
    return condition, said.fault


def _worse(a: Condition, b: Condition) -> Condition:
    order = (
        *(Condition.BROKEN, Condition.UNKNOWN, Condition.PULLED),
        *(Condition.UP, Condition.WAITING),
    )
    return min(a, b, key=order.index)
