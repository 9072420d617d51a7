"""Reports over real records and a switch in memory."""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ipam.model import Pool, PoolId
from ovsdriver import codec
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.admin import views
from ovsdriver.admin.networks import report
from ovsdriver.admin.networks.report import Scene
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import (
    Endpoint,
    EndpointId,
    Mode,
    Network,
    NetworkId,
    PortMapping,
    Publication,
    Subnet,
    Transport,
)
from ovsdriver.domain.records.options.port_options import PortKind, VlanMode, VlanTag
from ovsdriver.domain.records.segments import Datapath, OvnSegment, VlanSegment
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedPort
from ovsdriver.ports import EngineEndpoint, EngineSubnet, EngineView
from tests.builders import altered
from tests.fakes.switch import FakeSwitch

OWNER = "ovsnet"
LAB = NetworkId("1ab0" * 16)
FLAT = NetworkId("f1a0" * 16)
WEB = EndpointId("3eb0" * 16)
POOL = PoolId("pool-1")

NETWORK = Network(
    id=LAB,
    segment=VlanSegment(bridge="br-ovsnet", tag=VlanTag(7), datapath=Datapath.NETDEV),
    mode=Mode.NAT,
    subnets=(
        Subnet(
            cidr=IPNetwork("10.1.0.0/24"), gateway=IPAddress("10.1.0.1"), space="lab", pool=POOL
        ),
    ),
    options={"ovs.vlan": "7"},
)
ADOPTED = Network(
    id=FLAT,
    segment=VlanSegment(bridge="br0", tag=VlanTag(30), adopted=True),
    mode=Mode.FLAT,
)
ENDPOINT = Endpoint(
    id=WEB,
    network=LAB,
    addresses=(IPNetwork("10.1.0.2/24"),),
    mac=EUI("0a:0f:0a:01:00:02"),
    sandbox="/run/docker/netns/1",
)
VIEW = EngineView(
    id="ENGINE",
    version="26.1.5",
    networks={LAB: "lab", FLAT: "flat"},
    endpoints={WEB: EngineEndpoint(endpoint=WEB, network=LAB, container="web")},
)


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[SqliteState]:
    database = await Database.open(tmp_path / "state.db")
    yield await SqliteState.load(database)
    await database.close()


@pytest.fixture
async def scene(state: SqliteState) -> Scene:
    """Return a network with a gateway and one container, plugged in as it should be."""
    switch = FakeSwitch(OWNER)
    await state.put_network(NETWORK)
    await state.put_endpoint(ENDPOINT)
    bridge = desired.bridge(NETWORK.segment, owner=OWNER)
    gateway = desired.gateway(NETWORK, owner=OWNER)
    assert bridge is not None
    assert gateway is not None
    await switch.ensure_bridge(bridge)
    await switch.ensure_port(gateway.port)
    await switch.ensure_port(desired.attachment(NETWORK, ENDPOINT, owner=OWNER).port)
    return Scene(owner=OWNER, state=state, switch=switch, view=VIEW)


def port_of(scene: Scene, name: str) -> ObservedPort:
    port = scene.switch.port(name)
    assert port is not None
    return port


def put(scene: Scene, *things: ObservedPort | ObservedBridge) -> None:
    assert isinstance(scene.switch, FakeSwitch)
    for each in things:
        if isinstance(each, ObservedBridge):
            scene.switch.put_bridge(each)
        else:
            scene.switch.put_port(each)


async def test_a_network_is_reported_with_dockers_name(scene: Scene):
    (network,) = report.report(scene).networks
    assert network.network == NETWORK
    assert (network.name, network.state, network.in_docker) == ("lab", "ready", True)
    assert network.gateway_link == names.gateway_link(LAB)
    assert network.endpoints == 1


async def test_the_port_that_a_segment_is_asked_from_is_reported(scene: Scene, state: SqliteState):
    assert report.report(scene).networks[0].probe_link is None
    await state.put_network(replace(NETWORK, probe=True))
    assert report.report(scene).networks[0].probe_link is None, "the gateway asks"
    await state.put_network(replace(NETWORK, probe=True, mode=Mode.FLAT))
    assert report.report(scene).networks[0].probe_link == names.probe_link(LAB)


async def test_an_endpoint_is_reported_with_its_container_and_port(scene: Scene):
    (endpoint,) = report.report(scene).endpoints
    assert (endpoint.container, endpoint.network_name, endpoint.state) == (
        "web",
        "lab",
        "attached",
    )
    assert endpoint.endpoint == ENDPOINT
    assert endpoint.port.vlan == 7
    assert endpoint.port_name == names.host_link(WEB)
    assert endpoint.ofport == port_of(scene, endpoint.port_name).ofport


async def test_what_a_trunk_carries_is_reported_with_the_networks_it_lets_into(
    scene: Scene, state: SqliteState
):
    other = replace(NETWORK, id=FLAT, segment=replace(NETWORK.segment, tag=VlanTag(30)), subnets=())
    await state.put_network(other)
    router = altered(
        ENDPOINT,
        vlan_mode=VlanMode.TRUNK,
        trunks=(VlanTag(30), VlanTag(31)),
        protected=True,
        kind=PortKind.INTERNAL,
    )
    await state.put_endpoint(router)
    (endpoint,) = report.report(scene).endpoints
    port = endpoint.port
    assert (port.vlan, port.vlan_mode, port.trunks) == (None, VlanMode.TRUNK, (30, 31))
    assert endpoint.trunked_networks == (FLAT,)
    assert (endpoint.endpoint.protected, port.kind) == (True, PortKind.INTERNAL)
    assert endpoint.port_name == names.internal_link(WEB)


async def test_a_device_in_a_container_is_not_taken_for_gone(scene: Scene, state: SqliteState):
    inner = altered(ENDPOINT, kind=PortKind.INTERNAL)
    await state.put_endpoint(inner)
    port = desired.attachment(NETWORK, inner, owner=OWNER).port
    await scene.switch.ensure_port(port)
    put(scene, replace(port_of(scene, port.name), ifindex=0))
    assert report.report(scene).endpoints[0].state == "attached"
    lost = replace(scene, lost={WEB: "leads nowhere"})
    (endpoint,) = report.report(lost).endpoints
    assert (endpoint.state, endpoint.fault) == ("broken", "leads nowhere")


async def test_networks_stand_by_name_and_endpoints_by_address_whatever_was_written_last(
    scene: Scene, state: SqliteState
):
    await state.put_network(ADOPTED)
    others = [
        replace(
            ENDPOINT, id=EndpointId(f"{last:04x}" * 16), addresses=(IPNetwork(f"10.1.0.{last}/24"),)
        )
        for last in (100, 20)
    ]
    for each in (*others, ENDPOINT):
        await state.put_endpoint(each)
    told = report.report(scene)
    assert [each.name for each in told.networks] == ["flat", "lab"]
    assert [str(each.endpoint.addresses[0].ip) for each in told.endpoints] == [
        *("10.1.0.2", "10.1.0.20", "10.1.0.100")
    ]


async def test_a_report_is_json(scene: Scene):
    assert json.loads(codec.encode(report.report(scene)))["networks"][0]["network"]["id"] == LAB


async def test_without_docker_there_are_ids_and_no_names(scene: Scene):
    told = report.report(replace(scene, view=None))
    assert (told.networks[0].name, told.networks[0].in_docker) == ("", None)
    assert (told.endpoints[0].container, told.endpoints[0].network_name) == ("", "")


async def test_a_network_that_docker_does_not_list_is_shown_as_such(scene: Scene):
    told = report.report(replace(scene, view=replace(VIEW, networks={})))
    assert told.networks[0].in_docker is False


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param({"error": "could not open network device"}, "could not open", id="error"),
        pytest.param({"ofport": None}, "is it running?", id="not-taken"),
        pytest.param({"ofport": -1}, "device is gone", id="refused"),
        pytest.param({"ifindex": 0}, "device is gone", id="vanished"),
    ],
)
async def test_a_port_that_does_not_work_makes_its_endpoint_broken(
    scene: Scene, change: dict[str, object], fault: str
):
    put(scene, replace(port_of(scene, names.host_link(WEB)), **change))
    (endpoint,) = report.report(scene).endpoints
    assert endpoint.state == "broken"
    assert fault in endpoint.fault


async def test_an_endpoint_without_its_port_is_broken(scene: Scene):
    assert isinstance(scene.switch, FakeSwitch)
    scene.switch.drop_port(names.host_link(WEB))
    (endpoint,) = report.report(scene).endpoints
    assert (endpoint.state, endpoint.ofport) == ("broken", None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"sandbox": None}, "created"), ({"ended": True}, "ending")],
    ids=["not-joined", "ended"],
)
async def test_an_endpoint_that_needs_no_port_is_not_broken(
    scene: Scene, state: SqliteState, change: dict[str, object], expected: str
):
    assert isinstance(scene.switch, FakeSwitch)
    scene.switch.drop_port(names.host_link(WEB))
    await state.put_endpoint(replace(ENDPOINT, **change))
    assert report.report(scene).endpoints[0].state == expected


async def test_while_open_vswitch_is_away_nothing_is_called_broken(scene: Scene):
    assert isinstance(scene.switch, FakeSwitch)
    scene.switch.available = False
    told = report.report(scene)
    assert told.endpoints[0].state == "unknown"
    assert told.networks[0].state == "unknown"
    assert report.switch(scene.switch) == views.SwitchReport()


@pytest.mark.parametrize("lost", ["gateway", "bridge"])
async def test_a_network_without_its_bridge_or_gateway_is_broken(scene: Scene, lost: str):
    assert isinstance(scene.switch, FakeSwitch)
    if lost == "gateway":
        scene.switch.drop_port(names.gateway_link(LAB))
    else:
        scene.switch.drop_bridge("br-ovsnet")
    assert report.report(scene).networks[0].state == "broken"


async def test_a_network_that_is_being_removed_says_so(scene: Scene, state: SqliteState):
    await state.put_network(replace(NETWORK, ended=True))
    assert report.report(scene).networks[0].state == "ending"


async def test_everything_is_counted(scene: Scene):
    counts = report.counts(replace(scene, leases={POOL: 3, PoolId("q"): 4}))
    assert asdict(counts) == {"networks": 1, "endpoints": 1, "pools": 0, "leases": 7}


async def test_all_well_is_no_warning(scene: Scene):
    assert report.warnings(scene) == ()
    assert report.warnings(replace(scene, view=None)) == ()


async def test_a_network_that_docker_forgot_is_a_warning_with_what_to_type(scene: Scene):
    (text,) = report.warnings(replace(scene, view=replace(VIEW, networks={})))
    assert f"`ovsnet network rm {LAB[:12]}`" in text


async def test_a_pool_that_docker_forgot_is_a_warning_with_what_to_type(scene: Scene):
    lost = Pool(id=PoolId("s/10.9.0.0/24/1.1"), space="s", subnet=IPNetwork("10.9.0.0/24"))
    bound = Pool(id=POOL, space="lab", subnet=IPNetwork("10.1.0.0/24"))
    scene = replace(scene, pools=(bound, lost), leases={lost.id: 3, bound.id: 2})
    (text,) = report.warnings(scene)
    assert "10.9.0.0/24 of space s is of no network that Docker lists, with 3 of its" in text
    assert "`ovsnet ipam release s/10.9.0.0/24/1.1`" in text
    there = EngineSubnet(
        network=FLAT, cidr=lost.subnet, ipam="ovsipam", options={"ipam.space": "s"}
    )
    assert report.warnings(replace(scene, view=replace(VIEW, subnets=(there,)))) == ()


async def test_a_probe_that_asks_nobody_is_a_warning(scene: Scene):
    subnet = IPNetwork("10.9.0.0/24")
    asking = Pool(id=PoolId("ovsnet/1"), space="ovsnet", subnet=subnet, probe=True)
    bound = Pool(id=POOL, space="lab", subnet=IPNetwork("10.1.0.0/24"), probe=True)
    there = EngineSubnet(network=FLAT, cidr=subnet, ipam="ovsipam")
    scene = replace(scene, pools=(bound, asking), view=replace(VIEW, subnets=(there,)), leases={})
    (text,) = report.warnings(scene)
    assert "10.9.0.0/24 of space ovsnet has ipam.probe, and its network is not of the" in text
    assert report.warnings(replace(scene, pools=(bound, replace(asking, probe=False)))) == ()
    assert report.warnings(replace(scene, view=None)) == ()


async def test_a_pool_is_no_warning_while_it_may_still_become_a_network(scene: Scene):
    pool = Pool(id=PoolId("p"), space="s", subnet=IPNetwork("10.9.0.0/24"), created=1000.0)
    scene = replace(scene, pools=(pool,))
    assert report.warnings(replace(scene, now=1059.0)) == ()
    assert report.warnings(replace(scene, view=None)) == ()
    assert report.warnings(replace(scene, now=1060.0))


async def test_another_docker_cannot_say_that_a_network_is_forgotten(
    scene: Scene, state: SqliteState
):
    await state.put_network(replace(NETWORK, engine="ANOTHER"))
    assert report.warnings(replace(scene, view=replace(VIEW, networks={}))) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [({"controllers": 1}, "has a controller"), ({"fail_mode": "secure"}, "fail_mode=secure")],
    ids=["controller", "secure"],
)
async def test_a_bridge_whose_flows_are_others_is_a_warning(
    scene: Scene, state: SqliteState, change: dict[str, object], words: str
):
    await state.put_network(ADOPTED)
    plain = ObservedBridge(name="br0", datapath=Datapath.SYSTEM, owned=False)
    put(scene, plain)
    assert report.warnings(scene) == ()
    put(scene, replace(plain, **change))
    (text,) = report.warnings(scene)
    assert words in text


async def test_open_vswitch_is_reported_with_the_datapath_of_our_bridges(scene: Scene):
    put(scene, ObservedBridge(name="br0", datapath=Datapath.SYSTEM, owned=False))
    assert asdict(report.switch(scene.switch)) == {
        "connected": True,
        "version": "3.5.0",
        "datapaths": ("netdev",),
    }


async def test_docker_is_reported_as_it_answered():
    assert report.docker(None).answered is False
    assert asdict(report.docker(VIEW)) == {"answered": True, "version": "26.1.5", "id": "ENGINE"}


ASKED = PortMapping(protocol=Transport.TCP, port=80, host_port=8080)


async def test_ports_that_nobody_publishes_are_a_warning(scene: Scene, state: SqliteState):
    await state.put_endpoint(replace(ENDPOINT, unpublished=(ASKED,)))
    (text,) = report.warnings(scene)
    assert "80/tcp of -p not published: " in text
    shown = report.report(scene).endpoints[0]
    assert (shown.unpublished, shown.unpublished_why in text) == ((ASKED,), True)


async def test_published_ports_are_shown_with_what_is_reserved(scene: Scene, state: SqliteState):
    published = Publication(
        protocol=Transport.TCP,
        host=IPAddress("0.0.0.0"),
        host_port=8080,
        address=IPAddress("10.1.0.2"),
        port=80,
    )
    await state.put_endpoint(replace(ENDPOINT, published=(published,)))
    (shown,) = report.report(scene).endpoints
    assert (shown.endpoint.published, shown.reserved) == ((published,), ())
    (shown,) = report.report(replace(scene, held=frozenset({published.at}))).endpoints
    assert shown.reserved == (published.at,)


async def test_what_is_right_on_segments_is_no_warning(state: SqliteState) -> None:
    switch = FakeSwitch(OWNER)
    switch.put_bridge(
        ObservedBridge(name="br-int", datapath=Datapath.NETDEV, owned=False, fail_mode="secure")
    )
    for number, word in enumerate(("blue", "red")):
        network = replace(ADOPTED, id=NetworkId(f"{number}" * 64), segment=OvnSegment(segment=word))
        await state.put_network(network)
        endpoint = replace(
            ENDPOINT, id=EndpointId(f"{number + 5}" * 64), network=network.id, leases=()
        )
        await state.put_endpoint(endpoint)
    scene = Scene(owner=OWNER, state=state, switch=switch, view=VIEW)
    assert not [each for each in report.warnings(scene) if "MAC" in each or "br-int" in each]
