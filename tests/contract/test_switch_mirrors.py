"""Mirrors on every ``Switch``: the fake in memory, and Open vSwitch through its database."""

import asyncio
from dataclasses import replace

import pytest

from ovsdriver.domain.records import names
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.domain.wires.mirroring import NOBODYS_TAG, Mirror
from ovsdriver.domain.wires.observed import ObservedMirror
from ovsdriver.domain.wires.plumbing import Port
from ovsdriver.errors import ConflictError, UnavailableError
from tests.contract.test_switch import BRIDGE, OWNER, REAL, OvsWorld, World, ovs_process, world
from tests.integration.ovs import eventually

__all__ = ["ovs_process", "world"]

PLAYER = Port(name="vth1", bridge="brt", tag=VlanTag(30), external_ids={names.OWNER_KEY: OWNER})
OUTPUT = Port(
    name="vth2", bridge="brt", tag=NOBODYS_TAG, external_ids=names.mirror_output_ids(OWNER)
)
IDS = {names.OWNER_KEY: OWNER, names.NETWORK_KEY: "a" * 64}
OF_NETWORK = Mirror(name="ovm-n1", bridge="brt", output="vth2", vlan=VlanTag(30), external_ids=IDS)
OF_PORT = Mirror(name="ovm-e1", bridge="brt", output="vth2", ports=("vth1",), external_ids=IDS)


@pytest.fixture
async def prepared(world: World) -> World:
    await world.switch.ensure_bridge(BRIDGE)
    for name, port in (("vth1", PLAYER), ("vth2", OUTPUT)):
        world.add_device(name)
        await world.switch.ensure_port(port)
    return world


async def seen(world: World, count: int) -> tuple[ObservedMirror, ...]:
    def found() -> tuple[ObservedMirror, ...]:
        bridge = world.switch.bridge("brt")
        return bridge.mirrors if bridge is not None else ()

    await eventually(lambda: len(found()) == count, f"{count} mirrors")
    return found()


async def test_mirrors_are_made_as_described(prepared: World) -> None:
    assert await prepared.switch.ensure_mirrors("brt", [OF_NETWORK, OF_PORT])
    port, network = await seen(prepared, 2)
    assert (network.name, network.everything, network.vlans) == ("ovm-n1", True, (30,))
    assert (network.output, network.sources, network.destinations) == ("vth2", (), ())
    assert (port.name, port.everything, port.vlans) == ("ovm-e1", False, ())
    assert (port.sources, port.destinations) == (("vth1",), ("vth1",))
    assert port.external_ids == IDS


async def test_the_same_mirrors_again_change_nothing(prepared: World) -> None:
    await prepared.switch.ensure_mirrors("brt", [OF_PORT])
    await seen(prepared, 1)
    assert not await prepared.switch.ensure_mirrors("brt", [OF_PORT])


async def test_what_is_not_wanted_any_more_is_removed(prepared: World) -> None:
    await prepared.switch.ensure_mirrors("brt", [OF_NETWORK, OF_PORT])
    await seen(prepared, 2)
    assert await prepared.switch.ensure_mirrors("brt", [OF_NETWORK])
    (left,) = await seen(prepared, 1)
    assert left.name == "ovm-n1"
    assert await prepared.switch.ensure_mirrors("brt", [])
    await seen(prepared, 0)


async def test_a_mirror_whose_port_went_and_came_is_put_right(prepared: World) -> None:
    await prepared.switch.ensure_mirrors("brt", [OF_PORT])
    await prepared.switch.remove_port("vth1")
    await eventually(lambda: prepared.switch.port("vth1") is None, "the port goes")
    (lame,) = await seen(prepared, 1)
    assert lame.sources == ()
    await prepared.switch.ensure_port(PLAYER)
    await prepared.switch.ensure_mirrors("brt", [OF_PORT])
    (whole,) = await seen(prepared, 1)
    for _ in range(200):
        if whole.sources == ("vth1",):
            break
        await asyncio.sleep(0.02)
        (whole,) = await seen(prepared, 1)
    assert whole.sources == ("vth1",)


async def test_of_several_ports_those_that_are_there_are_mirrored(prepared: World) -> None:
    both = replace(OF_PORT, ports=("vth1", "vth3"))
    await prepared.switch.ensure_mirrors("brt", [both])
    (one,) = await seen(prepared, 1)
    assert (one.sources, one.destinations) == (("vth1",), ("vth1",))
    prepared.add_device("vth3")
    await prepared.switch.ensure_port(replace(PLAYER, name="vth3"))
    await prepared.switch.ensure_mirrors("brt", [both])

    def sources() -> tuple[str, ...]:
        bridge = prepared.switch.bridge("brt")
        return bridge.mirrors[0].sources if bridge is not None and bridge.mirrors else ()

    await eventually(lambda: sources() == ("vth1", "vth3"), "both are mirrored")
    with pytest.raises(UnavailableError, match="vth8"):
        await prepared.switch.ensure_mirrors("brt", [replace(OF_PORT, ports=("vth8", "vth9"))])


async def test_a_port_or_a_bridge_that_is_not_there_is_said(prepared: World) -> None:
    await prepared.switch.remove_port("vth2")
    await eventually(lambda: prepared.switch.port("vth2") is None, "the port goes")
    with pytest.raises(UnavailableError, match="vth2"):
        await prepared.switch.ensure_mirrors("brt", [OF_NETWORK])
    with pytest.raises(UnavailableError, match="nowhere"):
        await prepared.switch.ensure_mirrors("nowhere", [OF_NETWORK])
    assert not await prepared.switch.ensure_mirrors("nowhere", [])


@pytest.mark.ovs
@pytest.mark.netns
@pytest.mark.parametrize("world", [REAL], indirect=True)
async def test_a_port_that_mirrors_of_others_lead_to_is_left_to_them(prepared: World) -> None:
    assert isinstance(prepared, OvsWorld)
    prepared.ovs.vsctl(
        *("--", "--id=@p", "get", "port", "vth2"),
        *("--", "--id=@m", "create", "mirror", "name=theirs", "output-port=@p"),
        *("--", "add", "bridge", "brt", "mirrors", "@m"),
        *("--", "set", "bridge", "brt", "external_ids:seen=yes"),
    )

    def arrived() -> bool:
        bridge = prepared.switch.bridge("brt")
        return bridge is not None and "seen" in bridge.external_ids

    await eventually(arrived, "the copy has it")
    with pytest.raises(ConflictError, match="theirs"):
        await prepared.switch.ensure_mirrors("brt", [OF_NETWORK])
    assert await seen(prepared, 0) == ()
