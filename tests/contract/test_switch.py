"""What every ``Switch`` does: the fake in memory, and Open vSwitch through its database."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

import pytest

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.records.options.port_options import VlanMode, VlanTag
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedPort
from ovsdriver.domain.wires.plumbing import Bridge, Port
from ovsdriver.errors import ConflictError, InvalidOptionError, UnavailableError
from ovsdriver.ports import Switch
from tests.fakes.switch import FakeSwitch, foreign_bridge
from tests.integration.ovs import PrivateOvs, eventually, private_ovs, running_switch

OWNER = "ovsnet"
MARKS = [pytest.mark.ovs, pytest.mark.netns]
REAL = pytest.param(("ovsdb", 30.0), marks=MARKS, id="ovsdb")
"""The number is the switch's patience: generous, for a machine that does other things, too."""
HASTY = pytest.param(("ovsdb", 0.5), marks=MARKS, id="ovsdb")
FAKE = pytest.param(("fake", 0.0), id="fake")


class World(Protocol):
    """What is around a switch, and what other people do to it."""

    @property
    def switch(self) -> Switch: ...

    def add_device(self, name: str) -> None: ...
    def add_foreign_bridge(self, name: str) -> None: ...
    def add_foreign_port(self, bridge: str, name: str, tag: int | None) -> None: ...
    def move_port(self, name: str, tag: int) -> None: ...
    def remove_port(self, name: str) -> None: ...
    def stop_answering(self) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.switch = FakeSwitch(OWNER)
        self.switch.absent = {"nowhere"}

    def add_device(self, name: str) -> None:
        pass

    def add_foreign_bridge(self, name: str) -> None:
        self.switch.put_bridge(foreign_bridge(name))

    def add_foreign_port(self, bridge: str, name: str, tag: int | None) -> None:
        self.switch.put_port(ObservedPort(name=name, bridge=bridge, tag=tag, ofport=9, ifindex=9))

    def move_port(self, name: str, tag: int) -> None:
        port = self.switch.port(name)
        assert port is not None
        self.switch.put_port(replace(port, tag=tag))

    def remove_port(self, name: str) -> None:
        self.switch.drop_port(name)

    def stop_answering(self) -> None:
        self.switch.available = False


class OvsWorld:
    def __init__(self, ovs: PrivateOvs, switch: Switch) -> None:
        self.ovs = ovs
        self.switch = switch

    def add_device(self, name: str) -> None:
        self.ovs.add_veth(name, f"p{name}"[:15])

    def add_foreign_bridge(self, name: str) -> None:
        self.ovs.vsctl("add-br", name, "--", "set", "Bridge", name, "datapath_type=netdev")

    def add_foreign_port(self, bridge: str, name: str, tag: int | None) -> None:
        tagged = [f"tag={tag}"] if tag is not None else []
        command = ["add-port", bridge, name, *tagged]
        self.ovs.vsctl(*command, "--", "set", "Interface", name, "type=internal")

    def move_port(self, name: str, tag: int) -> None:
        self.ovs.vsctl("set", "Port", name, f"tag={tag}")

    def remove_port(self, name: str) -> None:
        self.ovs.vsctl("del-port", name)

    def stop_answering(self) -> None:
        self.ovs.kill_db()


@pytest.fixture(scope="module")
def ovs_process() -> Iterator[PrivateOvs]:
    with private_ovs() as ovs:
        yield ovs


@pytest.fixture(params=[FAKE, REAL])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    kind, timeout_s = request.param
    if kind == "fake":
        yield FakeWorld()
        return
    ovs = request.getfixturevalue("ovs_process")
    async with running_switch(ovs, owner=OWNER, timeout_s=timeout_s) as switch:
        yield OvsWorld(ovs, switch)
    if ovs.db is None:
        ovs.start_db()
    for bridge in ovs.vsctl("list-br").split():
        ovs.vsctl("del-br", bridge)
    for link, details in ovs.links().items():
        if link.startswith("v") and "ether" in details["link_type"]:
            with suppress(RuntimeError):  # the other end took it along
                ovs.ip("link", "del", link)


@pytest.fixture
def switch(world: World) -> Switch:
    return world.switch


BRIDGE = Bridge(name="brt", datapath=Datapath.NETDEV, owned=True, external_ids={"note": "x"})
INTERNAL = Port(
    name="it1",
    bridge="brt",
    tag=VlanTag(7),
    internal=True,
    external_ids={names.NETWORK_KEY: "n" * 64},
)


async def observed(switch: Switch, name: str, **wanted: Any) -> ObservedPort:
    """Wait for the port to show, with these attributes."""

    def matches() -> ObservedPort | None:
        port = switch.port(name)
        fits = port and all(getattr(port, key) == value for key, value in wanted.items())
        return port if fits else None

    found = await eventually(matches, f"port {name} with {wanted}")
    assert isinstance(found, ObservedPort)
    return found


async def observed_bridge(switch: Switch, name: str) -> ObservedBridge:
    found = await eventually(lambda: switch.bridge(name), f"bridge {name}")
    assert isinstance(found, ObservedBridge)
    return found


async def test_a_bridge_is_made_with_our_mark(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)

    bridge = switch.bridges()["brt"]
    assert bridge.owned
    assert bridge.datapath is Datapath.NETDEV
    assert bridge.fail_mode == "standalone"
    assert bridge.external_ids == {names.OWNER_KEY: OWNER, "note": "x"}
    assert bridge.ports == ()


async def test_ensuring_a_bridge_twice_leaves_one_bridge(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)
    before = switch.bridges()

    await switch.ensure_bridge(BRIDGE)

    assert switch.bridges() == before


async def test_a_bridge_without_our_mark_is_not_made_ours(world: World) -> None:
    world.add_foreign_bridge("brt")
    await observed_bridge(world.switch, "brt")

    with pytest.raises(ConflictError, match="brt"):
        await world.switch.ensure_bridge(BRIDGE)

    assert not world.switch.bridges()["brt"].owned


async def test_a_bridge_does_not_take_the_name_of_a_port(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)
    await switch.ensure_port(INTERNAL)

    with pytest.raises(ConflictError, match="it1"):
        await switch.ensure_bridge(replace(BRIDGE, name="it1"))


async def test_the_datapath_of_a_bridge_is_not_changed(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)

    with pytest.raises(ConflictError, match="netdev"):
        await switch.ensure_bridge(replace(BRIDGE, datapath=Datapath.SYSTEM))

    assert switch.bridges()["brt"].datapath is Datapath.NETDEV


@pytest.mark.parametrize("name", ["", "sixteen-letters-", "a/b", "a b"])
async def test_a_name_that_no_device_can_have_is_refused(switch: Switch, name: str) -> None:
    await switch.ensure_bridge(BRIDGE)

    with pytest.raises(InvalidOptionError):
        await switch.ensure_bridge(replace(BRIDGE, name=name))
    with pytest.raises(InvalidOptionError):
        await switch.ensure_port(replace(INTERNAL, name=name))

    assert switch.bridges().keys() == {"brt"}
    assert switch.bridges()["brt"].ports == ()


async def test_a_bridge_is_removed_with_our_ports_on_it(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)
    await switch.ensure_port(INTERNAL)

    assert await switch.remove_bridge("brt")

    assert switch.bridges() == {}
    assert switch.port("it1") is None
    assert not await switch.remove_bridge("brt")


async def test_a_bridge_with_foreign_ports_stays(world: World) -> None:
    await world.switch.ensure_bridge(BRIDGE)
    world.add_foreign_port("brt", "theirs", 5)
    await observed(world.switch, "theirs")

    assert not await world.switch.remove_bridge("brt")

    assert [port.name for port in world.switch.bridges()["brt"].ports] == ["theirs"]


async def test_a_foreign_bridge_is_not_removed(world: World) -> None:
    world.add_foreign_bridge("theirs")
    await observed_bridge(world.switch, "theirs")

    assert not await world.switch.remove_bridge("theirs")

    assert not world.switch.bridges()["theirs"].owned


async def test_an_ensured_port_is_there_when_the_call_returns(world: World) -> None:
    world.add_device("vt1")
    await world.switch.ensure_bridge(BRIDGE)

    await world.switch.ensure_port(
        Port(name="vt1", bridge="brt", tag=VlanTag(100), external_ids={"iface-id": "e"})
    )

    port = world.switch.port("vt1")
    assert port is not None
    assert (port.bridge, port.tag, port.trunks, port.vlan_mode) == ("brt", 100, (), "access")
    assert port.ofport is not None
    assert port.ofport > 0
    assert port.ifindex
    assert not port.internal
    assert port.external_ids == {names.OWNER_KEY: OWNER, "iface-id": "e"}
    assert world.switch.bridges()["brt"].ports == (port,)


async def test_ensuring_a_port_twice_leaves_one_port(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)
    await switch.ensure_port(INTERNAL)

    await switch.ensure_port(INTERNAL)

    assert [port.name for port in switch.bridges()["brt"].ports] == ["it1"]
    assert (await observed(switch, "it1")).internal


async def test_ensuring_a_port_many_times_at_once_leaves_one_port(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)

    await asyncio.gather(*(switch.ensure_port(INTERNAL) for _ in range(5)))

    assert [port.name for port in switch.bridges()["brt"].ports] == ["it1"]


async def test_a_port_on_no_vlan_has_tag_zero_and_not_an_empty_tag(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)

    await switch.ensure_port(replace(INTERNAL, tag=VlanTag(0)))

    assert (await observed(switch, "it1")).tag == 0


@pytest.mark.parametrize("tag", [-1, 4095, 4096, 99999])
async def test_a_tag_outside_the_range_never_reaches_the_switch(switch: Switch, tag: int) -> None:
    await switch.ensure_bridge(BRIDGE)

    with pytest.raises(InvalidOptionError, match=str(tag)):
        await switch.ensure_port(replace(INTERNAL, tag=VlanTag(tag)))

    assert switch.bridges()["brt"].ports == ()


TRUNK = replace(INTERNAL, tag=None, vlan_mode=VlanMode.TRUNK, trunks=(VlanTag(5), VlanTag(6)))
NATIVE = replace(TRUNK, tag=VlanTag(7), vlan_mode=VlanMode.NATIVE_UNTAGGED)


@pytest.mark.parametrize("port", [TRUNK, NATIVE, replace(NATIVE, vlan_mode=VlanMode.NATIVE_TAGGED)])
async def test_a_trunk_carries_the_listed_vlans(switch: Switch, port: Port) -> None:
    await switch.ensure_bridge(BRIDGE)

    await switch.ensure_port(port)

    found = await observed(switch, "it1")
    assert (found.tag, found.vlan_mode, found.trunks) == (port.tag, port.vlan_mode, (5, 6))


@pytest.mark.parametrize(
    "port",
    [
        pytest.param(replace(TRUNK, trunks=()), id="a trunk of everything"),
        pytest.param(replace(NATIVE, trunks=()), id="a native trunk of everything"),
        pytest.param(replace(INTERNAL, tag=None), id="an access port without a tag"),
        pytest.param(replace(NATIVE, tag=None), id="a native trunk without a tag"),
        pytest.param(replace(TRUNK, tag=VlanTag(7)), id="a trunk with a tag"),
        pytest.param(replace(INTERNAL, trunks=(VlanTag(5),)), id="an access port with trunks"),
        pytest.param(replace(TRUNK, trunks=(VlanTag(0), VlanTag(5))), id="a trunk of no VLAN"),
        pytest.param(replace(TRUNK, trunks=(VlanTag(4095),)), id="a trunk of a reserved VLAN"),
        pytest.param(replace(INTERNAL, ofport=0), id="number 0"),
        pytest.param(replace(INTERNAL, ofport=65280), id="a number of OpenFlow's own"),
    ],
)
async def test_a_port_that_does_not_say_what_it_carries_never_reaches_the_switch(
    switch: Switch, port: Port
) -> None:
    await switch.ensure_bridge(BRIDGE)

    with pytest.raises(InvalidOptionError, match="it1"):
        await switch.ensure_port(port)

    assert switch.bridges()["brt"].ports == ()


async def test_a_port_becomes_a_trunk_and_an_access_port_again(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)
    await switch.ensure_port(INTERNAL)

    await switch.ensure_port(replace(TRUNK, protected=True))
    await observed(switch, "it1", tag=None, trunks=(5, 6), vlan_mode="trunk", protected=True)
    await switch.ensure_port(INTERNAL)

    await observed(switch, "it1", tag=7, trunks=(), vlan_mode="access", protected=False)


async def test_a_port_takes_part_in_spanning_trees_if_it_is_to(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)
    for tree in (False, True, False):
        await switch.ensure_port(replace(INTERNAL, tree=tree))
        await observed(switch, "it1", tree=tree)


async def test_a_port_gets_the_number_that_was_asked_for(world: World) -> None:
    world.add_device("vt1")
    await world.switch.ensure_bridge(BRIDGE)

    await world.switch.ensure_port(replace(INTERNAL, ofport=65279))
    await world.switch.ensure_port(Port(name="vt1", bridge="brt", tag=VlanTag(7), ofport=77))
    assert (await observed(world.switch, "vt1")).ofport == 77

    await world.switch.ensure_port(Port(name="vt1", bridge="brt", tag=VlanTag(7), ofport=78))

    assert (await observed(world.switch, "it1")).ofport == 65279
    assert (await observed(world.switch, "vt1")).ofport == 78


async def test_a_number_that_another_port_has_is_refused_and_leaves_nothing(
    switch: Switch,
) -> None:
    await switch.ensure_bridge(BRIDGE)
    await switch.ensure_bridge(replace(BRIDGE, name="brt2"))
    await switch.ensure_port(replace(INTERNAL, ofport=77))
    before = switch.bridges()

    with pytest.raises(ConflictError, match="77"):
        await switch.ensure_port(replace(INTERNAL, name="it2", ofport=77))
    assert switch.bridges() == before

    await switch.ensure_port(replace(INTERNAL, name="it2", bridge="brt2", ofport=77))
    assert (await observed(switch, "it2")).ofport == 77


async def test_a_port_whose_device_moves_keeps_its_number(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)
    await switch.ensure_port(replace(INTERNAL, moves=True, ofport=77))

    await switch.ensure_port(replace(INTERNAL, moves=True, ofport=78, tag=VlanTag(8)))

    assert (await observed(switch, "it1", tag=8)).ofport == 77


async def test_a_port_of_ours_that_differs_is_put_right(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)
    await switch.ensure_port(INTERNAL)

    await switch.ensure_port(
        replace(INTERNAL, tag=VlanTag(8), external_ids={names.NETWORK_KEY: "m" * 64})
    )

    port = await observed(switch, "it1", tag=8)
    assert port.external_ids[names.NETWORK_KEY] == "m" * 64


async def test_a_port_of_ours_on_the_wrong_bridge_is_moved(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)
    await switch.ensure_bridge(replace(BRIDGE, name="brt2"))
    await switch.ensure_port(INTERNAL)

    await switch.ensure_port(replace(INTERNAL, bridge="brt2"))

    assert switch.bridges()["brt"].ports == ()
    assert [port.name for port in switch.bridges()["brt2"].ports] == ["it1"]


async def test_a_foreign_port_of_that_name_is_refused_and_left_alone(world: World) -> None:
    await world.switch.ensure_bridge(BRIDGE)
    world.add_foreign_port("brt", "it1", 5)
    before = await observed(world.switch, "it1")

    with pytest.raises(ConflictError, match="it1"):
        await world.switch.ensure_port(INTERNAL)
    assert not await world.switch.remove_port("it1")

    assert world.switch.port("it1") == before


async def test_a_port_does_not_take_the_name_of_a_bridge(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)

    with pytest.raises(ConflictError, match="brt"):
        await switch.ensure_port(replace(INTERNAL, name="brt"))
    assert not await switch.remove_port("brt")

    assert switch.bridges().keys() == {"brt"}


async def test_a_port_on_a_bridge_that_is_not_there_is_refused(switch: Switch) -> None:
    with pytest.raises(UnavailableError, match="brt"):
        await switch.ensure_port(INTERNAL)

    assert switch.port("it1") is None


async def test_a_port_without_its_device_fails_and_leaves_nothing(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)

    with pytest.raises(UnavailableError, match=r"nowhere.*No such device"):
        await switch.ensure_port(Port(name="nowhere", bridge="brt", tag=VlanTag(1)))

    assert switch.port("nowhere") is None
    assert switch.bridges()["brt"].ports == ()


async def test_ports_go_on_foreign_bridges_and_leave_them_as_they_were(world: World) -> None:
    world.add_foreign_bridge("theirs")
    world.add_foreign_port("theirs", "uplink", None)
    await observed(world.switch, "uplink")
    before = world.switch.bridges()["theirs"]

    await world.switch.ensure_port(replace(INTERNAL, bridge="theirs"))
    names_with = [port.name for port in world.switch.bridges()["theirs"].ports]
    assert await world.switch.remove_port("it1")

    assert names_with == ["it1", "uplink"]
    assert world.switch.bridges()["theirs"] == before
    assert before.ports[0].tag is None


async def test_removing_a_port_twice_succeeds_and_says_so(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)
    await switch.ensure_port(INTERNAL)

    assert await switch.remove_port("it1")
    assert not await switch.remove_port("it1")

    assert switch.port("it1") is None


async def test_ports_change_together_and_those_that_are_not_there_are_not_made(
    world: World,
) -> None:
    switch = world.switch
    await switch.ensure_bridge(BRIDGE)
    trunk = replace(
        INTERNAL,
        name="it2",
        vlan_mode=VlanMode.NATIVE_UNTAGGED,
        trunks=(VlanTag(8), VlanTag(9)),
        protected=True,
    )
    world.add_foreign_port("brt", "theirs", 7)
    for name in ("it1", "it2"):
        await switch.ensure_port(replace(INTERNAL, name=name))
    await observed(switch, "theirs")
    await observed(switch, "it2")

    absent = replace(INTERNAL, name="it3")
    foreign = replace(INTERNAL, name="theirs", tag=VlanTag(5))
    moved = [replace(INTERNAL, tag=VlanTag(5)), trunk, absent, foreign]
    assert await switch.change_ports(moved)

    await observed(switch, "it1", tag=5, trunks=())
    await observed(switch, "it2", tag=7, trunks=(8, 9), vlan_mode="native-untagged", protected=True)
    theirs = switch.port("theirs")
    assert theirs is not None
    assert theirs.tag == 7
    assert switch.port("it3") is None
    assert not await switch.change_ports(moved), "nothing is left to change"


async def test_of_ports_that_change_together_none_does_if_one_is_refused(world: World) -> None:
    switch = world.switch
    await switch.ensure_bridge(BRIDGE)
    for name in ("it1", "it2"):
        await switch.ensure_port(replace(INTERNAL, name=name))
    second = await observed(switch, "it2")

    wrong = replace(INTERNAL, tag=VlanTag(5), ofport=second.ofport)
    with pytest.raises(ConflictError, match=r"ovs\.ofport"):
        await switch.change_ports([replace(INTERNAL, name="it2", tag=VlanTag(5)), wrong])
    with pytest.raises(InvalidOptionError):
        await switch.change_ports([replace(INTERNAL, tag=VlanTag(4095))])

    assert {each.tag for each in switch.bridges()["brt"].ports} == {7}


def an_end(bridge: str, peer: str, *vlans: int) -> Port:
    return Port(
        name=names.patch_port(bridge, peer),
        bridge=bridge,
        tag=None,
        vlan_mode=VlanMode.TRUNK,
        trunks=tuple(map(VlanTag, vlans)),
        tree=False,
        peer=names.patch_port(peer, bridge),
        external_ids=names.patch_ids(OWNER),
    )


async def test_a_pair_of_patch_ports_is_made_and_changed_and_mended(switch: Switch) -> None:
    for name in ("brt", "bru"):
        await switch.ensure_bridge(replace(BRIDGE, name=name))
    for vlans in ((0, 7), (7, 9)):
        ends = an_end("brt", "bru", *vlans), an_end("bru", "brt", *vlans)
        await switch.ensure_patch(ends)
        for end in ends:
            port = await observed(switch, end.name, bridge=end.bridge, trunks=vlans)
            assert (port.peer, port.error) == (end.peer, "")
            assert port.ofport is not None
            assert port.ofport > 0
    assert await switch.remove_port(ends[0].name)
    await switch.ensure_patch(ends)
    assert (await observed(switch, ends[0].name)).peer == ends[1].name


async def test_a_pair_is_made_whole_or_not_at_all(world: World) -> None:
    switch = world.switch
    for name in ("brt", "bru"):
        await switch.ensure_bridge(replace(BRIDGE, name=name))
    ends = an_end("brt", "bru", 7), an_end("bru", "brt", 7)
    world.add_foreign_port("bru", ends[1].name, tag=None)
    await observed(switch, ends[1].name)
    with pytest.raises(ConflictError):
        await switch.ensure_patch(ends)
    assert switch.port(ends[0].name) is None
    with pytest.raises(UnavailableError):
        await switch.ensure_patch((an_end("brt", "nil", 7), an_end("nil", "brt", 7)))
    assert switch.port(names.patch_port("brt", "nil")) is None


async def test_one_bridge_alone_comes_without_its_ports(switch: Switch) -> None:
    await switch.ensure_bridge(BRIDGE)
    await switch.ensure_port(INTERNAL)

    bridge = switch.bridge("brt")

    assert bridge == replace(switch.bridges()["brt"], ports=())
    assert switch.bridge("none") is None
    assert switch.port("none") is None


async def test_a_port_that_somebody_removes_is_announced(world: World) -> None:
    await world.switch.ensure_bridge(BRIDGE)
    await world.switch.ensure_port(INTERNAL)
    changed = asyncio.Event()
    world.switch.on_change(lambda _: changed.set())

    world.remove_port("it1")

    await asyncio.wait_for(changed.wait(), 30)
    await eventually(lambda: world.switch.port("it1") is None, "the port is gone")


async def test_a_port_of_a_container_that_comes_or_goes_is_told_by_its_endpoint(
    world: World,
) -> None:
    await world.switch.ensure_bridge(BRIDGE)
    await asyncio.sleep(0)
    told: list[Collection[EndpointId] | None] = []
    world.switch.on_change(told.append)
    endpoint = EndpointId("e" * 64)
    port = replace(INTERNAL, external_ids={names.ENDPOINT_KEY: endpoint})

    await world.switch.ensure_port(port)
    await eventually(lambda: told, "it came")
    before = len(told)
    await world.switch.remove_port(port.name)
    await eventually(lambda: len(told) > before, "it went")

    assert set(told) == {frozenset({endpoint})}


async def test_a_foreign_port_on_our_bridge_is_announced(world: World) -> None:
    await world.switch.ensure_bridge(BRIDGE)
    await asyncio.sleep(0)
    changed = asyncio.Event()
    world.switch.on_change(lambda _: changed.set())

    world.add_foreign_port("brt", "theirs", 5)

    await asyncio.wait_for(changed.wait(), 30)


async def test_a_foreign_port_beside_one_of_ours_is_announced_and_what_becomes_of_it(
    world: World,
) -> None:
    world.add_foreign_bridge("theirs")
    await observed_bridge(world.switch, "theirs")
    await world.switch.ensure_port(replace(INTERNAL, bridge="theirs"))
    await asyncio.sleep(0)
    changed = asyncio.Event()
    world.switch.on_change(lambda _: changed.set())

    for change in (
        lambda: world.add_foreign_port("theirs", "neighbour", 5),
        lambda: world.move_port("neighbour", 6),
        lambda: world.remove_port("neighbour"),
    ):
        changed.clear()
        change()
        await asyncio.wait_for(changed.wait(), 30)


async def test_what_others_do_on_their_bridges_is_not_announced(world: World) -> None:
    switch = world.switch
    await switch.ensure_bridge(BRIDGE)
    await switch.ensure_port(INTERNAL)
    await eventually(lambda: switch.port("it1"), "ours is there")
    await asyncio.sleep(0)
    ours_present: list[bool] = []
    switch.on_change(lambda _: ours_present.append(switch.port("it1") is not None))

    world.add_foreign_bridge("other")
    world.add_foreign_port("other", "theirs", 5)
    await observed(switch, "theirs")
    world.remove_port("theirs")
    world.remove_port("it1")
    await eventually(lambda: ours_present, "the loss of ours is announced")

    assert not any(ours_present)


@pytest.mark.parametrize("world", [FAKE, HASTY], indirect=True)
async def test_calls_fail_with_a_sentence_while_open_vswitch_does_not_answer(
    world: World,
) -> None:
    world.stop_answering()
    await eventually(lambda: not world.switch.status().connected, "the loss is noticed")

    assert world.switch.bridges() == {}
    assert world.switch.port("it1") is None
    with pytest.raises(UnavailableError, match="does not answer"):
        await world.switch.connected(0.1)
    for call in (
        world.switch.ensure_bridge(BRIDGE),
        world.switch.ensure_port(INTERNAL),
        world.switch.remove_port("it1"),
        world.switch.remove_bridge("brt"),
    ):
        with pytest.raises(UnavailableError, match="does not answer"):
            await call


async def test_the_status_says_what_is_there(switch: Switch) -> None:
    await switch.connected(20)

    status = switch.status()

    assert status.connected
    assert "netdev" in status.datapath_types
