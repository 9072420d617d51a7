"""What is connected to what: collected from records and a switch in memory, placed and drawn."""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from netaddr import EUI, IPNetwork

from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.admin.graph import text
from ovsdriver.admin.graph.layout import HEIGHT, layout
from ovsdriver.admin.graph.report import graph
from ovsdriver.admin.graph.svg import svg
from ovsdriver.admin.graph.views import Condition, Edge, Graph, Kind, Node, Tier, Traffic
from ovsdriver.admin.networks.report import Scene
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId, Mode, Network, NetworkId
from ovsdriver.domain.records.options.port_options import Cable
from ovsdriver.domain.records.segments import Datapath, OvnSegment, Router, Uplink
from ovsdriver.domain.wires import desired, patching
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedPort
from ovsdriver.ports import EngineEndpoint, EngineView
from tests.builders import a_segment, a_subnet, altered
from tests.fakes.switch import FakeSwitch

OWNER = "ovsnet"
LAB, LAN, BLUE = (NetworkId(digit * 64) for digit in "abc")
WEB, DB = (EndpointId(digit * 64) for digit in "12")
VIEW = EngineView(
    id="ENGINE",
    version="26.1.5",
    networks={LAB: "lab", LAN: "lan", BLUE: "blue"},
    endpoints={
        key: EngineEndpoint(endpoint=key, network=LAB, container=name)
        for key, name in ((WEB, "web"), (DB, "db"))
    },
)
NETWORK = Network(id=LAB, segment=a_segment(tag=7), mode=Mode.NAT, subnets=(a_subnet(),))


def an_endpoint(which: EndpointId, last: int, **more: object) -> Endpoint:
    values = {
        "id": which,
        "network": LAB,
        "addresses": (IPNetwork(f"10.1.0.{last}/24"),),
        "mac": EUI(f"0a:0f:0a:01:00:{last:02x}"),
        "sandbox": f"/run/docker/netns/{which[:4]}",
    }
    return Endpoint(**(values | more))


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[SqliteState]:
    database = await Database.open(tmp_path / "state.db")
    yield await SqliteState.load(database)
    await database.close()


@pytest.fixture
def switch() -> FakeSwitch:
    return FakeSwitch(OWNER)


@pytest.fixture
async def scene(state: SqliteState, switch: FakeSwitch) -> Scene:
    """Return a network with a gateway and one container, as it should be."""
    await plugged(state, switch, NETWORK, an_endpoint(WEB, 2))
    return Scene(owner=OWNER, state=state, switch=switch, view=VIEW)


async def plugged(
    state: SqliteState, switch: FakeSwitch, network: Network, *endpoints: Endpoint
) -> None:
    await state.put_network(network)
    bridge = desired.bridge(network.segment, owner=OWNER)
    gateway = desired.gateway(network, owner=OWNER)
    if bridge is not None:
        await switch.ensure_bridge(bridge)
    if gateway is not None:
        await switch.ensure_port(gateway.port)
    for each in endpoints:
        await state.put_endpoint(each)
        await switch.ensure_port(desired.attachment(network, each, owner=OWNER).port)


def drawn(scene: Scene, **more: object) -> Graph:
    return graph(scene, **({"peers": {}} | more))


def node(found: Graph, name: str) -> Node:
    (only,) = [each for each in found.nodes if each.name == name]
    return only


def edge(found: Graph, kind: Kind) -> Edge:
    (only,) = [each for each in found.edges if each.kind is kind]
    return only


def way(found: Graph, name: str) -> list[str]:
    """Return the names from a node outwards, by the first edge of each."""
    by_id = {each.id: each.name for each in found.nodes}
    at = node(found, name).id
    names_ = [name]
    while outer := next((each.outer for each in found.edges if each.inner == at), ""):
        at = outer
        names_.append(by_id[at])
    return names_


async def test_a_container_hangs_on_its_network_bridge_host_and_the_outside(scene: Scene):
    found = drawn(scene)
    assert way(found, "web") == ["web", "lab", "br-ovsnet", "this host", "outside"]
    assert [each.tier for each in found.nodes] == [*Tier]
    assert {each.condition for each in (*found.nodes, *found.edges)} == {Condition.UP}
    assert edge(found, Kind.VLAN).label == "VLAN 7"
    assert node(found, "lab").notes == ("10.1.0.0/24", "nat")


async def test_a_lost_port_is_broken_with_its_container_and_says_why(
    scene: Scene, switch: FakeSwitch
):
    switch.drop_port(names.port(an_endpoint(WEB, 2)))
    found = drawn(scene)
    assert edge(found, Kind.ENDPOINT).condition is Condition.BROKEN
    assert edge(found, Kind.ENDPOINT).why == "the port is not on the bridge"
    assert node(found, "web").condition is Condition.BROKEN


async def test_a_pulled_cable_is_no_fault_and_shown(
    scene: Scene, state: SqliteState, switch: FakeSwitch
):
    pulled = altered(an_endpoint(WEB, 2), cable=Cable.DOWN)
    await plugged(state, switch, NETWORK, pulled)
    found = drawn(scene)
    assert edge(found, Kind.ENDPOINT).condition is Condition.PULLED
    assert "ovs.link=down" in node(found, "web").why


async def test_joined_bridges_have_a_line_of_their_own_that_says_what_crosses(
    scene: Scene, state: SqliteState, switch: FakeSwitch
):
    leaf = replace(NETWORK, id=LAN, segment=a_segment("br-leaf", 7), patches=("br-ovsnet",))
    await plugged(state, switch, leaf)
    assert edge(drawn(scene), Kind.PATCH).condition is Condition.BROKEN
    for pair in patching.pairs(state.networks(), owner=OWNER):
        await switch.ensure_patch(pair.ends)
    found = edge(drawn(scene), Kind.PATCH)
    assert (found.condition, found.label) == (Condition.UP, "VLAN 7")
    assert f">{found.label}</text>" in svg(drawn(scene))
    assert min(each.x for each in layout(drawn(scene)).places.values()) > 0
    await state.put_network(replace(leaf, patch_cable=Cable.DOWN))
    assert edge(drawn(scene), Kind.PATCH).condition is Condition.PULLED


async def test_a_lost_gateway_breaks_the_way_out_and_its_network(scene: Scene, switch: FakeSwitch):
    link = names.gateway_link(LAB)
    switch.drop_port(link)
    found = drawn(scene)
    assert edge(found, Kind.GATEWAYS).why == f"{link}: the port is not on the bridge"
    assert node(found, "lab").condition is Condition.BROKEN
    assert node(found, "lab").why == "its gateway: the port is not on the bridge"


async def test_a_lost_bridge_stays_in_the_picture(scene: Scene, switch: FakeSwitch):
    switch.drop_bridge("br-ovsnet")
    bridge = node(drawn(scene), "br-ovsnet")
    assert (bridge.condition, bridge.why) == (Condition.BROKEN, "the bridge is not there")


async def test_without_open_vswitch_nothing_is_called_broken(scene: Scene, switch: FakeSwitch):
    switch.available = False
    found = drawn(scene)
    assert {each.condition for each in found.nodes} == {Condition.UP, Condition.UNKNOWN}
    assert edge(found, Kind.GATEWAYS).condition is Condition.UNKNOWN


async def test_a_container_on_two_networks_is_one_node(
    scene: Scene, state: SqliteState, switch: FakeSwitch
):
    other = replace(
        NETWORK, id=LAN, segment=a_segment(tag=8), subnets=(a_subnet("10.2.0.0/24", "10.2.0.1"),)
    )
    second = an_endpoint(
        DB,
        3,
        network=LAN,
        addresses=(IPNetwork("10.2.0.3/24"),),
        sandbox=f"/run/docker/netns/{WEB[:4]}",
    )
    await plugged(state, switch, other, second)
    view = replace(
        VIEW,
        endpoints={
            key: EngineEndpoint(endpoint=key, network=LAB, container="web") for key in (WEB, DB)
        },
    )
    found = drawn(replace(scene, view=view))
    assert node(found, "web").notes == ("10.1.0.2", "10.2.0.3")
    assert len([each for each in found.edges if each.inner == node(found, "web").id]) == 2


async def test_a_nic_leads_outside_and_is_broken_when_it_is_off_the_bridge(
    scene: Scene, state: SqliteState, switch: FakeSwitch
):
    segment = a_segment("br-eth1", 30, uplink=Uplink(nics=("eth1",)))
    await plugged(state, switch, Network(id=LAN, segment=segment, mode=Mode.FLAT))
    found = drawn(scene)
    assert way(found, "lan") == ["lan", "br-eth1", "eth1", "outside"]
    assert node(found, "eth1").condition is Condition.BROKEN
    switch.put_port(
        ObservedPort(
            name="eth1",
            bridge="br-eth1",
            tag=None,
            trunks=(30,),
            ofport=9,
            ifindex=9,
            interfaces=("eth1",),
        )
    )
    found = drawn(scene)
    assert node(found, "eth1").condition is Condition.UP
    assert edge(found, Kind.UPLINK).label == "VLAN 30"


@pytest.mark.parametrize(("count", "shown"), [(2, ["vm0", "vm1"]), (13, ["13 ports of others"])])
async def test_ports_of_others_are_shown_and_not_judged(
    scene: Scene, switch: FakeSwitch, count: int, shown: list[str]
):
    for each in range(count):
        switch.put_port(ObservedPort(name=f"vm{each}", bridge="br-ovsnet", tag=9))
    found = drawn(scene)
    foreign = [each for each in found.nodes if each.kind is Kind.FOREIGN]
    assert [each.name for each in foreign] == shown
    assert {each.condition for each in foreign} == {Condition.FOREIGN}


async def test_a_segment_leads_to_the_other_hosts_that_have_it(
    scene: Scene, state: SqliteState, switch: FakeSwitch
):
    switch.put_bridge(ObservedBridge(name="br-int", datapath=Datapath.SYSTEM, owned=False))
    router = Router(name="core", gateways=(IPNetwork("10.50.0.1/24"),))
    blue = Network(
        id=BLUE,
        segment=OvnSegment(segment="blue", router=router),
        mode=Mode.ISOLATED,
        subnets=(replace(a_subnet("10.50.0.0/24", None), space="segment:blue"),),
    )
    await plugged(state, switch, blue)
    found = drawn(scene, peers={"blue": ["host2", "host3"], "green": ["host4"]})
    assert [each.name for each in found.nodes if each.kind is Kind.PEER] == ["host2", "host3"]
    assert way(found, "blue") == ["blue", "br-int", "host2"]
    (leading,) = [each for each in found.edges if each.outer == "router:core"]
    assert (leading.inner, leading.label) == (f"network:{BLUE}", "10.50.0.1")


async def test_what_passed_is_told_by_the_devices_of_an_edge(scene: Scene):
    port = names.port(an_endpoint(WEB, 2))
    found = drawn(scene, traffic={port: Traffic(received_bytes=7, sent_packets=3)})
    assert edge(found, Kind.ENDPOINT).traffic == Traffic(received_bytes=7, sent_packets=3)
    assert edge(found, Kind.GATEWAYS).traffic is None


def many(count: int) -> Graph:
    nodes = (
        Node(id="n", tier=Tier.NETWORK, kind=Kind.NETWORK, name="lab"),
        *(
            Node(id=f"c{each}", tier=Tier.CONTAINER, kind=Kind.CONTAINER, name=f"web{each}")
            for each in range(count)
        ),
    )
    edges = tuple(
        Edge(id=f"e{each}", kind=Kind.ENDPOINT, outer="n", inner=f"c{each}")
        for each in range(count)
    )
    return Graph(nodes=nodes, edges=edges)


@pytest.mark.parametrize("count", [0, 1, 24, 500])
def test_no_two_nodes_are_in_one_place(count: int):
    placed = layout(many(count))
    assert len(placed.places) == count + 1
    for x in {each.x for each in placed.places.values()}:
        column = sorted(each.y for each in placed.places.values() if each.x == x)
        assert all(b - a > HEIGHT for a, b in pairwise(column))
    assert all(0 < each.x < placed.width for each in placed.places.values())
    assert all(0 < each.y < placed.height for each in placed.places.values())


def test_an_empty_host_has_an_empty_picture():
    ElementTree.fromstring(svg(Graph()))  # noqa: S314 - our own
    assert text.mermaid(Graph()) == "flowchart LR\n"
    assert text.dot(Graph()).startswith("graph ovsnet {")


NASTY = '<script>alert("1")</script> & \\ \' # ] | \x07\n-->'


def nasty() -> Graph:
    found = many(1)
    return replace(
        found,
        nodes=tuple(replace(each, name=NASTY, notes=(NASTY,)) for each in found.nodes),
        edges=tuple(replace(each, label=NASTY, why=NASTY) for each in found.edges),
    )


def test_names_stay_text_in_a_picture():
    tree = ElementTree.fromstring(svg(nasty()))  # noqa: S314 - our own
    assert {each.tag.rpartition("}")[2] for each in tree.iter()} == {
        *("svg", "style", "g", "rect", "circle", "text", "title", "path")
    }
    assert any("<script>" in (each.text or "") for each in tree.iter())


def test_names_stay_text_for_mermaid():
    for line in text.mermaid(nasty()).splitlines():
        _, quote, inside = line.partition('"')
        if quote:
            shown = inside.rpartition('"')[0].replace("<br/>", "")
            assert not set('"<>&|]\\\x07') & set(shown), line


def test_names_stay_text_for_graphviz():
    for line in text.dot(nasty()).splitlines():
        bare = line.replace("\\\\", "").replace('\\"', "")
        assert bare.count('"') % 2 == 0, line
        assert "\x07" not in bare
