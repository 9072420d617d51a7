"""Kinds of ports on a real Open vSwitch: where frames get, what a moved device survives."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from netaddr import EUI

from ovsdriver.adapters.kernel.kernel import Kernel
from ovsdriver.adapters.kernel.links import KernelLinks
from ovsdriver.adapters.ovs.rows import OvsSwitch
from ovsdriver.domain.records import names
from ovsdriver.domain.records.options.port_options import VlanMode, VlanTag
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires.plumbing import Bridge, Port, Tap
from ovsdriver.errors import ConflictError, UnavailableError
from tests.builders import FIRST
from tests.integration.conftest import PATIENCE_S
from tests.integration.netns import Sandbox, inside
from tests.integration.ovs import PrivateOvs, eventually, running_switch

pytestmark = [pytest.mark.ovs, pytest.mark.netns]

OWNER = "ovsnet"
BRIDGE = Bridge(name="brt", datapath=Datapath.NETDEV, owned=True)
TAP = Tap(
    name=names.internal_link(FIRST),
    mac=EUI("0a:0f:0a:01:00:02"),
    mtu=1400,
    alias=names.alias(OWNER, FIRST),
)
INNER = Port(name=TAP.name, bridge="brt", tag=VlanTag(7), internal=True, moves=True, mtu=TAP.mtu)


def plugged(name: str, tag: int = 7) -> Port:
    return Port(name=name, bridge="brt", tag=VlanTag(tag))


@pytest.fixture
async def links(ovs: PrivateOvs) -> AsyncIterator[KernelLinks]:
    """Links of the namespace that vswitchd makes devices in."""
    with inside(f"/run/netns/{ovs.namespace}"):
        kernel = Kernel(owner=OWNER, timeout_s=PATIENCE_S)
        yield kernel.links
        await kernel.close()


@pytest.fixture
def container() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


async def put_inside(
    ovs: PrivateOvs, switch: OvsSwitch, links: KernelLinks, container: Sandbox, port: Port = INNER
) -> None:
    """Do what Join and Docker do, up to ``eth0`` with an address."""
    await switch.ensure_port(port)
    await links.ensure_tap(TAP)
    ovs.ip("link", "set", TAP.name, "netns", container.path)
    container.run("ip", "link", "set", TAP.name, "name", "eth0")
    container.run("ip", "addr", "add", "10.1.0.2/24", "dev", "eth0")
    container.run("ip", "link", "set", "eth0", "up")


def answers(container: Sandbox) -> bool:
    """Whether the other side of the bridge answers a ping from the container."""
    ping = ("ping", "-n", "-q", "-c", "1", "-W", "2", "10.1.0.1")
    with suppress(AssertionError):
        container.run(*ping)
        return True
    return False


async def test_a_trunk_hears_what_it_lists_and_nothing_else(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    for name, tag in (("v5", 5), ("v6", 6), ("v7", 7), ("router", 7), ("native", 7)):
        ovs.add_veth(name, f"{name}c")
        port = plugged(name, tag)
        if name == "router":
            trunks = (VlanTag(5),)
            port = replace(port, tag=None, vlan_mode=VlanMode.TRUNK, trunks=trunks)
        if name == "native":
            port = replace(port, vlan_mode=VlanMode.NATIVE_UNTAGGED, trunks=(VlanTag(6),))
        await ovs_switch.ensure_port(port)
    others = ("v5c", "v6c", "v7c", "routerc", "nativec")

    def reached(sender: str, control: str) -> set[str]:
        rest = (each for each in others if each not in (sender, control))
        return ovs.reached(sender, control, *rest)

    assert reached("v5c", "routerc") == {"routerc"}
    assert reached("v6c", "nativec") == {"nativec"}
    assert reached("v7c", "nativec") == {"nativec"}
    assert reached("nativec", "v7c") == {"v7c"}


async def test_protected_ports_reach_everybody_but_each_other(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    for name in ("pa", "pb", "free"):
        ovs.add_veth(name, f"{name}c")
        await ovs_switch.ensure_port(replace(plugged(name), protected=name != "free"))

    assert ovs.reached("pac", "freec", "pbc") == {"freec"}
    assert ovs.reached("freec", "pac", "pbc") == {"pac", "pbc"}

    await ovs_switch.ensure_port(plugged("pb"))
    assert ovs.reached("pac", "pbc", "freec") == {"freec", "pbc"}


async def test_what_is_put_right_of_a_port_leaves_its_device_in_the_container(
    ovs: PrivateOvs, ovs_switch: OvsSwitch, links: KernelLinks, container: Sandbox
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    ovs.add_veth("peer", "peerc")
    await ovs_switch.ensure_port(plugged("peer"))
    ovs.ip("addr", "add", "10.1.0.1/24", "dev", "peerc")
    ovs.run("ethtool", "-K", "peerc", "tx", "off")
    await put_inside(ovs, ovs_switch, links, container, replace(INNER, ofport=70))
    await eventually(lambda: answers(container), "the container talks")
    (device,) = container.described("ip", "-json", "link", "show", "eth0")
    assert (device["address"], device["mtu"]) == ("0a:0f:0a:01:00:02", 1400)

    ovs.vsctl("set", "Port", TAP.name, "tag=9", "trunks=1,2", "external_ids={}")
    await eventually(lambda: ovs_switch.port(TAP.name).trunks, "the change is seen")  # type: ignore[union-attr]
    with pytest.raises(ConflictError):  # without our mark it is somebody else's
        await ovs_switch.ensure_port(INNER)
    ovs.vsctl("set", "Port", TAP.name, f"external_ids:{names.OWNER_KEY}={OWNER}")
    ovs.vsctl("set", "Interface", TAP.name, f"external_ids:{names.OWNER_KEY}={OWNER}")
    await eventually(
        lambda: ovs_switch.port(TAP.name).external_ids,  # type: ignore[union-attr]
        "the mark is seen",
    )
    for wanted in (INNER, replace(INNER, ofport=71), replace(INNER, protected=True)):
        await ovs_switch.ensure_port(wanted)

    found = ovs_switch.port(TAP.name)
    assert found is not None
    assert (found.tag, found.trunks, found.ofport) == (7, (), 70)
    assert TAP.name not in ovs.links()
    assert answers(container)


async def test_an_internal_port_keeps_its_mtu_beside_a_smaller_one(
    ovs: PrivateOvs, ovs_switch: OvsSwitch, links: KernelLinks, container: Sandbox
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    ovs.add_veth("small", "smallc")
    ovs.ip("link", "set", "small", "mtu", "1300")
    await ovs_switch.ensure_port(plugged("small"))
    await ovs_switch.ensure_port(INNER)
    await links.ensure_tap(TAP)
    ovs.add_veth("more", "morec")
    await ovs_switch.ensure_port(plugged("more"))
    assert (await links.links())[TAP.name].mtu == 1400

    await put_inside(ovs, ovs_switch, links, container)
    await ovs_switch.remove_port("small")
    await ovs_switch.ensure_port(INNER)

    (device,) = container.described("ip", "-json", "link", "show", "eth0")
    assert device["mtu"] == 1400


async def test_a_new_vswitchd_leaves_a_device_without_our_mark_in_the_host(
    ovs: PrivateOvs, ovs_switch: OvsSwitch, links: KernelLinks, container: Sandbox
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    await put_inside(ovs, ovs_switch, links, container)
    assert TAP.name not in await links.links()

    ovs.kill_vswitchd()
    ovs.start_vswitchd()
    await eventually(lambda: TAP.name in ovs.links(), "vswitchd has made another one")

    stray = (await links.links())[TAP.name]
    assert (stray.alias, stray.up) == ("", False)
    assert await links.remove_link(TAP.name) is False, "it is vswitchd's"

    await ovs_switch.remove_port(TAP.name)

    await eventually(lambda: TAP.name not in ovs.links(), "the stray device is gone")
    (old,) = container.described("ip", "-json", "link", "show", "eth0")
    assert old["ifalias"] == TAP.alias


async def test_a_device_that_comes_back_while_vswitchd_is_dead_is_deleted(
    ovs: PrivateOvs, ovs_switch: OvsSwitch, links: KernelLinks, container: Sandbox
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    await put_inside(ovs, ovs_switch, links, container)
    ovs.kill_vswitchd()
    await ovs_switch.remove_port(TAP.name)
    container.run("ip", "link", "set", "eth0", "down")
    container.run("ip", "link", "set", "eth0", "name", TAP.name)
    container.run("ip", "link", "set", TAP.name, "netns", f"/run/netns/{ovs.namespace}")

    assert await links.remove_link(TAP.name) is True

    await eventually(lambda: TAP.name not in ovs.links(), "the device is gone")
    ovs.start_vswitchd()
    await asyncio.sleep(0.5)
    assert TAP.name not in ovs.links()


async def test_a_number_outlives_a_replugged_device_and_a_new_vswitchd(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    ovs.add_veth("va", "vac")
    ovs.add_veth("vb", "vbc")
    await ovs_switch.ensure_port(plugged("vb"))
    port = replace(plugged("va"), ofport=77)
    await ovs_switch.ensure_port(port)
    ovs.ip("link", "del", "va")
    ovs.add_veth("va", "vac")

    await ovs_switch.ensure_port(port)

    assert ovs.vsctl("get", "Interface", "va", "ofport", "ofport_request").split() == ["77", "77"]
    assert ovs.reached("vac", "vbc") == {"vbc"}
    ovs.kill_vswitchd()
    ovs.start_vswitchd()
    assert ovs.vsctl("get", "Interface", "va", "ofport").strip() == "77"


async def test_two_wishes_for_one_number_at_once_are_one_port_and_one_refusal(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    for name in ("va", "vb"):
        ovs.add_veth(name, f"{name}c")

    outcomes = await asyncio.gather(
        *(ovs_switch.ensure_port(replace(plugged(name), ofport=77)) for name in ("va", "vb")),
        return_exceptions=True,
    )

    refused = [each for each in outcomes if each is not None]
    assert len(refused) == 1
    assert isinstance(refused[0], ConflictError)
    await eventually(
        lambda: len(ovs.vsctl("list-ports", "brt").split()) == 1, "the refused one is removed"
    )
    kept = ovs.vsctl("list-ports", "brt").strip()
    assert ovs.vsctl("get", "Interface", kept, "ofport").strip() == "77"


async def test_a_number_that_vswitchd_does_not_give_is_told(ovs: PrivateOvs) -> None:
    async with running_switch(ovs, timeout_s=1.5) as switch:
        await switch.ensure_bridge(BRIDGE)
        ovs.add_veth("va", "vac")
        await switch.ensure_port(plugged("va"))
        with ovs.frozen_vswitchd(), pytest.raises(UnavailableError, match="number 77"):
            await switch.ensure_port(replace(plugged("va"), ofport=77))
        await eventually(
            lambda: ovs.vsctl("get", "Interface", "va", "ofport").strip() == "77",
            "vswitchd goes on",
        )
