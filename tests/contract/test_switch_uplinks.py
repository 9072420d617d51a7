"""Uplinks on every ``Switch``: the fake in memory, and Open vSwitch through its database."""

from dataclasses import replace

import pytest
from netaddr import EUI

from ovsdriver.domain.records import names
from ovsdriver.domain.records.options.port_options import VlanMode, VlanTag
from ovsdriver.domain.records.segments import BondMode, HostPlace, Lacp
from ovsdriver.domain.wires.plumbing import Port, UplinkPort
from ovsdriver.errors import ConflictError, InvalidOptionError, UnavailableError
from tests.contract.test_switch import (
    BRIDGE,
    FAKE,
    OWNER,
    REAL,
    World,
    observed,
    ovs_process,
    world,
)
from tests.integration.ovs import eventually

__all__ = ["ovs_process", "world"]

SINGLE = UplinkPort(
    name="vth1",
    bridge="brt",
    nics=("vth1",),
    trunks=(VlanTag(30), VlanTag(31)),
    external_ids=names.uplink_ids(OWNER),
)
BOND = UplinkPort(
    name="bond0",
    bridge="brt",
    nics=("vth1", "vth2"),
    trunks=(VlanTag(0), VlanTag(30)),
    bond=BondMode.BALANCE_SLB,
    lacp=Lacp.PASSIVE,
    external_ids=names.uplink_ids(OWNER),
)


@pytest.fixture
async def prepared(world: World) -> World:
    await world.switch.ensure_bridge(BRIDGE)
    for nic in ("vth1", "vth2"):
        world.add_device(nic)
    return world


async def test_one_nic_is_a_trunk_of_the_vlans_in_use(prepared: World) -> None:
    await prepared.switch.ensure_uplink(SINGLE)

    port = await observed(prepared.switch, "vth1", interfaces=("vth1",))
    assert (port.tag, port.trunks, port.vlan_mode) == (None, (30, 31), "trunk")
    assert (port.bond_mode, port.lacp) == ("", "")
    assert port.external_ids == {names.OWNER_KEY: OWNER, names.PURPOSE_KEY: "uplink"}


async def test_several_nics_are_a_bond(prepared: World) -> None:
    await prepared.switch.ensure_uplink(BOND)

    port = await observed(prepared.switch, "bond0", interfaces=("vth1", "vth2"))
    assert (port.bond_mode, port.lacp, port.trunks) == ("balance-slb", "passive", (0, 30))


@pytest.mark.parametrize("awaited", [False, True])
async def test_an_uplink_is_narrowed_and_widened(prepared: World, awaited: bool) -> None:
    await prepared.switch.ensure_uplink(SINGLE)
    narrow = replace(SINGLE, trunks=(VlanTag(31),))

    await prepared.switch.ensure_uplink(narrow, awaited=awaited)

    await observed(prepared.switch, "vth1", trunks=(31,))
    await prepared.switch.ensure_uplink(SINGLE)
    await observed(prepared.switch, "vth1", trunks=(30, 31))


async def test_an_uplink_changes_together_with_ports(prepared: World) -> None:
    switch = prepared.switch
    port = Port(name="it1", bridge="brt", tag=VlanTag(30), internal=True)
    await switch.ensure_uplink(BOND)
    await switch.ensure_port(port)
    await observed(switch, "bond0", interfaces=("vth1", "vth2"))

    other = replace(BOND, trunks=(VlanTag(0), VlanTag(40)), bond=BondMode.ACTIVE_BACKUP)
    assert await switch.change_ports([replace(port, tag=VlanTag(40)), other])

    await observed(switch, "bond0", trunks=(0, 40), bond_mode="active-backup", lacp="passive")
    await observed(switch, "it1", tag=40)
    assert not await switch.change_ports([replace(SINGLE, name="vth3", nics=("vth3",))])


async def test_a_bond_is_changed_in_place(prepared: World) -> None:
    await prepared.switch.ensure_uplink(BOND)

    changed = replace(BOND, bond=BondMode.ACTIVE_BACKUP, lacp=Lacp.OFF)
    await prepared.switch.ensure_uplink(changed)

    await observed(prepared.switch, "bond0", bond_mode="active-backup", lacp="off")


async def test_a_bond_that_lost_a_nic_gets_it_back(prepared: World) -> None:
    await prepared.switch.ensure_uplink(replace(BOND, nics=("vth1",)))

    await prepared.switch.ensure_uplink(BOND)

    await observed(prepared.switch, "bond0", interfaces=("vth1", "vth2"))


async def test_an_uplink_is_removed_as_other_ports_are(prepared: World) -> None:
    await prepared.switch.ensure_uplink(BOND)

    assert await prepared.switch.remove_port("bond0") is True

    assert await prepared.switch.remove_port("bond0") is False
    assert await prepared.switch.remove_bridge("brt") is True


async def test_a_nic_in_somebody_elses_port_is_a_conflict(prepared: World) -> None:
    prepared.add_foreign_bridge("lab")
    prepared.add_foreign_port("lab", "theirs", None)

    for port in (replace(SINGLE, name="theirs", nics=("theirs",)), replace(BOND, name="theirs")):
        with pytest.raises(ConflictError, match="ovsnet did not make"):
            await prepared.switch.ensure_uplink(port)


async def test_a_nic_in_another_uplink_is_a_conflict(prepared: World) -> None:
    await prepared.switch.ensure_uplink(SINGLE)

    with pytest.raises(ConflictError, match="vth1"):
        await prepared.switch.ensure_uplink(BOND)


async def test_an_uplink_for_all_vlans_is_refused(prepared: World) -> None:
    for trunks in ((), (VlanTag(4095),)):
        with pytest.raises(InvalidOptionError):
            await prepared.switch.ensure_uplink(replace(SINGLE, trunks=trunks))


async def test_an_uplink_on_no_bridge_says_so(world: World) -> None:
    with pytest.raises(UnavailableError, match="brt"):
        await world.switch.ensure_uplink(SINGLE)


@pytest.mark.parametrize("world", [FAKE, REAL], indirect=True)
async def test_a_nic_that_is_not_there_leaves_nothing(world: World) -> None:
    await world.switch.ensure_bridge(BRIDGE)

    with pytest.raises(UnavailableError, match="nowhere"):
        await world.switch.ensure_uplink(replace(SINGLE, name="nowhere", nics=("nowhere",)))

    assert world.switch.port("nowhere") is None


async def test_a_bridges_own_port_is_the_hosts_for_as_long_as_it_is_there(
    prepared: World,
) -> None:
    host = HostPlace(mac=EUI("02:00:00:00:00:e1"), mtu=1400)

    await prepared.switch.ensure_bridge(replace(BRIDGE, host=host))

    await eventually(lambda: local_tag(prepared) == 0, "the host is on its own port")
    await prepared.switch.ensure_bridge(BRIDGE)
    await eventually(lambda: local_tag(prepared) == 4095, "nobody is on its own port")


def local_tag(world: World) -> int | None:
    bridge = world.switch.bridge("brt")
    return bridge.local_tag if bridge is not None else None


async def test_a_tunnel_lets_the_listed_tags_in(prepared: World) -> None:
    tunnel = Port(
        name="vth1",
        bridge="brt",
        tag=VlanTag(30),
        vlan_mode=VlanMode.DOT1Q_TUNNEL,
        cvlans=(VlanTag(7), VlanTag(8)),
    )
    await prepared.switch.ensure_port(tunnel)
    await observed(
        prepared.switch, "vth1", vlan_mode="dot1q-tunnel", tag=30, trunks=(), cvlans=(7, 8)
    )

    await prepared.switch.ensure_port(replace(tunnel, cvlans=()))

    await observed(prepared.switch, "vth1", vlan_mode="dot1q-tunnel", cvlans=())
