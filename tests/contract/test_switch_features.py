"""Features of bridges on every ``Switch``: the fake in memory, and Open vSwitch."""

from dataclasses import replace

import pytest

from ovsdriver.domain.records.options.features import Exporter, FailMode, Features
from tests.contract.test_switch import BRIDGE, REAL, OvsWorld, World, ovs_process, world
from tests.integration.ovs import eventually

__all__ = ["ovs_process", "world"]

ALL = Features(
    rstp=True,
    mcast=True,
    control_frames=True,
    fail_mode=FailMode.SECURE,
    protocols=("OpenFlow13", "OpenFlow14"),
    controllers=("tcp:127.0.0.1:6653", "tcp:127.0.0.1:6654"),
    sflow=Exporter(targets=("127.0.0.1:6343",), sampling=64),
    netflow=Exporter(targets=("127.0.0.1:2055",)),
    ipfix=Exporter(targets=("127.0.0.1:4739",), sampling=None),
)
LESS = Features(
    mcast=False,
    protocols=("OpenFlow14",),
    controllers=("tcp:127.0.0.1:6654",),
    sflow=Exporter(targets=("127.0.0.1:6344",), sampling=1),
)


async def has(world: World, wanted: Features) -> None:
    def seen() -> bool:
        bridge = world.switch.bridge("brt")
        return bridge is not None and bridge.features == wanted

    await eventually(seen, f"the bridge has {wanted}")


@pytest.mark.parametrize("wanted", [ALL, LESS, Features()])
async def test_a_bridge_is_made_with_its_features(world: World, wanted: Features) -> None:
    await world.switch.ensure_bridge(replace(BRIDGE, features=wanted))
    await has(world, wanted)


async def test_features_come_and_go_on_a_bridge_that_stands(world: World) -> None:
    for wanted in (Features(), ALL, LESS, ALL, Features()):
        await world.switch.ensure_bridge(replace(BRIDGE, features=wanted))
        await has(world, wanted)


@pytest.mark.ovs
@pytest.mark.netns
@pytest.mark.parametrize("world", [REAL], indirect=True)
async def test_what_somebody_set_on_our_bridge_stays(world: World) -> None:
    assert isinstance(world, OvsWorld)
    await world.switch.ensure_bridge(BRIDGE)
    world.ovs.vsctl("set", "Bridge", "brt", "mcast_snooping_enable=true")
    world.ovs.vsctl("set-controller", "brt", "tcp:127.0.0.1:7777")
    await world.switch.ensure_bridge(replace(BRIDGE, features=ALL))
    await has(world, ALL)
    await world.switch.ensure_bridge(replace(BRIDGE, features=Features(mcast=True)))
    await has(world, Features(mcast=True))
    await world.switch.ensure_bridge(BRIDGE)
    await has(world, Features())
    assert world.ovs.vsctl("get-controller", "brt").split() == ["tcp:127.0.0.1:7777"]


@pytest.mark.ovs
@pytest.mark.netns
@pytest.mark.parametrize("world", [REAL], indirect=True)
async def test_nothing_of_them_is_left_behind(world: World) -> None:
    assert isinstance(world, OvsWorld)
    await world.switch.ensure_bridge(replace(BRIDGE, features=ALL))
    await world.switch.ensure_bridge(BRIDGE)
    await has(world, Features())
    for table in ("Controller", "sFlow", "NetFlow", "IPFIX"):
        assert world.ovs.vsctl("list", table) == ""
