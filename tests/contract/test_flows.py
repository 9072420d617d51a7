"""What every ``Flows`` does: the fake in memory and Open vSwitch side by side."""

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.adapters.ovs.openflow import OvsFlows
from ovsdriver.domain.records.model import Endpoint, EndpointId, NetworkId
from ovsdriver.domain.records.options.access import Side
from ovsdriver.domain.records.options.flows import (
    Flow,
    Governed,
    Match,
    Meter,
    PortFlows,
    Ruling,
    Stage,
)
from ovsdriver.domain.records.options.port_options import PortOptions, VlanTag
from ovsdriver.domain.records.options.shaping import Shaping
from ovsdriver.domain.traffic import guarding, tagging
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Flows
from tests.fakes.flows import FakeFlows
from tests.integration.ovs import PrivateOvs, private_ovs

PORT = 3
GUARD = PortFlows(
    flows=guarding.guard(
        Endpoint(
            id=EndpointId("e" * 64),
            network=NetworkId("a" * 64),
            mac=EUI("0a:0f:0a:00:00:02"),
            addresses=(IPNetwork("10.0.0.2/24"), IPNetwork("fd00::2/64")),
        )
    )
)
TAGS = PortFlows(flows=tagging.untagged(two_tags=False) | tagging.trunk([VlanTag(40)]))
RATE = PortFlows(
    flows=frozenset({Flow(stage=Stage.RATE, rank=0, metered=True)}),
    meters=frozenset({Meter(stage=Stage.RATE, rate=1000, burst=100)}),
)
MARK = Shaping.of(PortOptions(dscp=46)).metered
GROUPS = PortFlows(
    flows=frozenset(
        {Flow(stage=Stage.BROADCAST, rank=0, match=Match(to_group=True), metered=True)}
    ),
    meters=frozenset({Meter(stage=Stage.BROADCAST, rate=10, burst=20, packets=True)}),
)

SENT = frozenset(
    Flow(stage=Stage.ACCESS, rank=rank, match=Match(eth_type=kind), zone=0x8014, governed=governed)
    for kind in (0x0800, 0x86DD)
    for rank, governed in ((4, True), (2, False))
)
HERE = Flow(stage=Stage.ACCESS, rank=2, match=Match(eth_type=0x0800), zone=0x8014, port=65534)
PAST = Flow(stage=Stage.ACCESS, rank=6, match=Match(eth_dst=EUI("0a:0f:0a:00:00:01")))
POLICY = "abcdef012345"
RULINGS = frozenset(
    Ruling(policy=POLICY, side=side, rank=2, passes=False, **said)
    for side in Side
    for said in (
        {
            "family": 4,
            "peer": IPNetwork("10.0.0.0/8"),
            "protocol": 6,
            "port": 80,
            "port_mask": 0xFFFF,
        },
        {
            "family": 6,
            "peer": IPNetwork("fd00::/60"),
            "protocol": 17,
            "port": 8,
            "port_mask": 0xFFF8,
        },
        {"family": 6, "peer": IPNetwork("fd00::7/128")},
        {"family": 4, "peer": IPNetwork("0.0.0.0/0"), "protocol": 1},
        {"protocol": 6},
    )
)
REST = frozenset(Ruling(policy=POLICY, side=side, rank=0, passes=True) for side in Side)
GOVERNED = Governed(
    zone=0x8014,
    mac=EUI("0a:0f:0a:00:00:02"),
    addresses=(IPAddress("10.0.0.2"), IPAddress("fd00::2")),
    policy=POLICY,
)
FORWARDS = replace(GOVERNED, mac=EUI("0a:0f:0a:00:00:03"), forwards=True)
JUDGING = PortFlows(judging=True)
JUDGED = PortFlows(flows=SENT | {HERE, PAST}, governed=frozenset({GOVERNED}))
FORWARDED = PortFlows(governed=frozenset({FORWARDS}))
POLICIES = PortFlows(rulings=RULINGS | REST)


@pytest.fixture(scope="module")
def ovs() -> Iterator[PrivateOvs]:
    with private_ovs() as private:
        private.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev")
        yield private


@pytest.fixture(params=["fake", pytest.param("ovs", marks=[pytest.mark.ovs, pytest.mark.netns])])
def flows(request: pytest.FixtureRequest) -> Iterator[Flows]:
    if request.param == "fake":
        yield FakeFlows()
        return
    private: PrivateOvs = request.getfixturevalue("ovs")
    yield OvsFlows(private.folder, owner="ovsnet")
    ofctl(private, "del-flows", "cookie=0xcc5ea5f200000000/0xffffffff00000000")
    ofctl(private, "del-meters")


def ofctl(private: PrivateOvs, command: str, *rest: str) -> str:
    argv = ("ovs-ofctl", "-O", "OpenFlow14", command, f"unix:{private.folder}/br0.mgmt", *rest)
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(GUARD, id="guard"),
        pytest.param(RATE, id="rate"),
        pytest.param(GROUPS, id="broadcasts"),
        pytest.param(TAGS, id="tags"),
        pytest.param(MARK, id="mark"),
        pytest.param(JUDGING, id="tables that judge"),
        pytest.param(JUDGED, id="judged"),
        pytest.param(FORWARDED, id="forwards"),
        pytest.param(POLICIES, id="policies"),
    ],
)
async def test_what_was_ensured_is_there_and_does_not_differ(
    flows: Flows, wanted: PortFlows
) -> None:
    assert await flows.ensure("br0", {PORT: wanted})
    assert not await flows.ensure("br0", {PORT: wanted})
    assert not await flows.differing("br0", lambda: {PORT: wanted})


@pytest.mark.parametrize("number", [1, 16384, 32767, 40000, 65279])
async def test_ports_of_any_number_have_meters_of_their_own(flows: Flows, number: int) -> None:
    wanted = PortFlows(flows=RATE.flows | GROUPS.flows, meters=RATE.meters | GROUPS.meters)
    await flows.ensure("br0", {PORT: RATE})
    assert await flows.ensure("br0", {number: wanted})
    assert not await flows.differing("br0", lambda: {PORT: RATE, number: wanted})
    assert await flows.ensure("br0", {number: PortFlows()})
    assert not await flows.differing("br0", lambda: {PORT: RATE})


async def test_flows_of_a_whole_bridge_stand_beside_those_of_ports(flows: Flows) -> None:
    await flows.ensure("br0", {0: TAGS})
    await flows.ensure("br0", {PORT: TAGS})
    assert not await flows.differing("br0", lambda: {0: TAGS, PORT: TAGS})
    await flows.ensure("br0", {PORT: PortFlows()})
    assert not await flows.differing("br0", lambda: {0: TAGS})


async def test_one_set_of_flows_takes_the_place_of_another(flows: Flows) -> None:
    await flows.ensure("br0", {PORT: GUARD})
    assert set(await flows.differing("br0", lambda: {PORT: RATE})) == {PORT}
    assert await flows.ensure("br0", {PORT: RATE})
    assert not await flows.differing("br0", lambda: {PORT: RATE})


async def test_rulings_that_are_there_tell_what_they_have_met(flows: Flows) -> None:
    assert await flows.met("br0", {PORT: POLICIES}) == {}
    await flows.ensure("br0", {PORT: POLICIES})
    met = await flows.met("br0", {PORT: POLICIES, PORT + 1: POLICIES})
    assert met == dict.fromkeys(POLICIES.rulings, (0, 0))


async def test_a_meter_changes_its_rate(flows: Flows) -> None:
    faster = PortFlows(
        flows=RATE.flows, meters=frozenset({Meter(stage=Stage.RATE, rate=9000, burst=900)})
    )
    await flows.ensure("br0", {PORT: RATE})
    assert set(await flows.differing("br0", lambda: {PORT: faster})) == {PORT}
    await flows.ensure("br0", {PORT: faster})
    assert not await flows.differing("br0", lambda: {PORT: faster})


async def test_what_a_port_has_and_nobody_wants_differs_until_it_is_removed(flows: Flows) -> None:
    await flows.ensure("br0", {PORT: RATE})
    await flows.ensure("br0", {PORT + 1: GUARD})
    assert set(await flows.differing("br0", dict)) == {PORT, PORT + 1}
    assert await flows.ensure("br0", {PORT: PortFlows()})
    assert not await flows.ensure("br0", {PORT: PortFlows()})
    assert set(await flows.differing("br0", dict)) == {PORT + 1}


async def test_what_is_wanted_and_is_not_there_differs(flows: Flows) -> None:
    assert set(await flows.differing("br0", lambda: {PORT: GUARD})) == {PORT}


async def test_flows_of_several_change_in_one_call(flows: Flows) -> None:
    several = {0: TAGS, PORT: RATE, PORT + 1: GUARD}
    assert await flows.ensure("br0", several)
    assert not await flows.ensure("br0", several)
    assert not await flows.differing("br0", lambda: several)
    assert await flows.ensure("br0", {PORT: PortFlows(), PORT + 1: JUDGED})
    assert not await flows.differing("br0", lambda: {0: TAGS, PORT + 1: JUDGED})


@pytest.mark.parametrize("earlier", [PortFlows(), JUDGED, RATE], ids=["nothing", "flows", "meters"])
@pytest.mark.parametrize("wanted", [GUARD, JUDGED, MARK], ids=["guard", "judged", "mark"])
async def test_a_port_that_is_fresh_has_nothing_else_even_if_it_was_not(
    flows: Flows, earlier: PortFlows, wanted: PortFlows
) -> None:
    await flows.ensure("br0", {PORT: earlier, PORT + 1: GUARD, 1 << 31: POLICIES})
    assert await flows.ensure("br0", {PORT: wanted}, fresh={PORT})
    others = {PORT + 1: GUARD, 1 << 31: POLICIES}
    found = await flows.differing("br0", lambda: {PORT: wanted, **others})
    assert set(found) <= ({PORT} if earlier.meters else set())  # which the look then finds
    await flows.ensure("br0", {PORT: wanted})
    assert not await flows.differing("br0", lambda: {PORT: wanted, **others})


async def attended_once_there(flows: OvsFlows, present: asyncio.Event) -> None:
    """Attend a bridge; a vswitchd that was just started may not answer for it yet."""
    while True:
        try:
            return await flows.attend("br0", present.set)
        except UnavailableError:
            await asyncio.sleep(0.05)


@pytest.mark.ovs
@pytest.mark.netns
class TestOpenVSwitch:
    async def test_flows_and_meters_of_others_stay(self, ovs: PrivateOvs) -> None:
        ofctl(ovs, "add-flow", "cookie=7,priority=5,in_port=3,actions=drop")
        ofctl(ovs, "add-meter", "meter=5,kbps,band=type=drop,rate=9")
        flows = OvsFlows(ovs.folder, owner="ovsnet")
        await flows.ensure("br0", {PORT: GUARD})
        await flows.ensure("br0", {PORT: RATE})
        await flows.ensure("br0", {PORT: PortFlows()})
        left = ofctl(ovs, "dump-flows")
        assert "cookie=0x7" in left
        assert "NORMAL" in left
        assert "reg15" not in left
        assert "meter=5 " in ofctl(ovs, "dump-meters")
        ofctl(ovs, "del-flows", "cookie=7/-1")
        ofctl(ovs, "del-meters")

    async def test_a_flow_that_somebody_changed_differs(self, ovs: PrivateOvs) -> None:
        flows = OvsFlows(ovs.folder, owner="ovsnet")
        await flows.ensure("br0", {PORT: GUARD})
        ofctl(ovs, "mod-flows", "arp,in_port=3,actions=NORMAL")
        assert set(await flows.differing("br0", lambda: {PORT: GUARD})) == {PORT}
        assert await flows.ensure("br0", {PORT: GUARD})
        assert not await flows.differing("br0", lambda: {PORT: GUARD})
        await flows.ensure("br0", {PORT: PortFlows()})

    async def test_a_bridge_without_our_version_is_told_from_one_that_is_away(
        self, ovs: PrivateOvs
    ) -> None:
        flows = OvsFlows(ovs.folder, owner="ovsnet")
        ovs.vsctl("set", "Bridge", "br0", "protocols=OpenFlow10,OpenFlow13")
        with pytest.raises(Exception, match="add bridge br0 protocols OpenFlow14"):
            await flows.ensure("br0", {PORT: GUARD})
        ovs.vsctl("clear", "Bridge", "br0", "protocols")
        with pytest.raises(UnavailableError, match="br9"):
            await flows.ensure("br9", {PORT: GUARD})
        with (
            ovs.frozen_vswitchd(),
            pytest.raises(UnavailableError, match="does not answer for bridge br0"),
        ):
            await OvsFlows(ovs.folder, owner="ovsnet", timeout_s=0.2).ensure("br0", {PORT: GUARD})

    async def test_a_vswitchd_is_attended_until_it_is_gone(self, ovs: PrivateOvs) -> None:
        flows = OvsFlows(ovs.folder, owner="ovsnet")
        present = asyncio.Event()
        for _ in range(2):
            present.clear()
            attending = asyncio.ensure_future(attended_once_there(flows, present))
            await asyncio.wait_for(present.wait(), 20)
            ovs.kill_vswitchd()
            await asyncio.wait_for(attending, 20)
            with pytest.raises(UnavailableError):
                await flows.attend("br0", present.set)
            ovs.start_vswitchd()

    async def test_what_was_prepared_is_used_once_unless_it_has_ended(
        self, ovs: PrivateOvs
    ) -> None:
        flows = OvsFlows(ovs.folder, owner="ovsnet")
        flows.prepare("br0")
        flows.prepare("br9")
        await asyncio.sleep(0.05)
        for wanted in (GUARD, RATE, PortFlows()):
            assert await flows.ensure("br0", {PORT: wanted})
        flows.prepare("br0")
        await asyncio.sleep(0.05)
        ovs.kill_vswitchd()
        ovs.start_vswitchd()
        present = asyncio.Event()
        attending = asyncio.ensure_future(attended_once_there(flows, present))
        await asyncio.wait_for(present.wait(), 20)
        attending.cancel()
        assert await flows.ensure("br0", {PORT: GUARD})
        assert await flows.ensure("br0", {PORT: PortFlows()})
