"""Networks that share a wire: made, narrowed, widened, repaired and taken out again."""

from collections.abc import Callable
from typing import Any

import pytest
from netaddr import EUI, IPNetwork

from ovsdriver.admin.networks import report
from ovsdriver.domain.records import names, uplink_notes
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.options.port_options import VlanMode, VlanTag
from ovsdriver.domain.records.requests import NewEndpoint
from ovsdriver.domain.records.segments import BondMode
from ovsdriver.domain.wires.observed import ObservedPort
from ovsdriver.errors import (
    ConflictError,
    InvalidOptionError,
    UnavailableError,
    UnsupportedError,
)
from ovsdriver.words.changes import OtherOptions
from tests.builders import BLUE, FIRST, RED, endpoint_options
from tests.fakes.switch import foreign_bridge
from tests.unit.service.conftest import Host


async def on_eth1(host: Host, network_id: str = RED, tag: int = 30, **options: Any) -> None:
    await host.create_network(network_id, **({"uplink": ("eth1",), "vlan": VlanTag(tag)} | options))


def trunks(host: Host, port: str = "eth1") -> tuple[int, ...] | None:
    found = host.switch.port(port)
    return found.trunks if found else None


@pytest.fixture(autouse=True)
def nics(host: Host) -> None:
    for nic in ("eth1", "eth2"):
        host.links.add_link(nic)


async def test_the_nic_is_a_trunk_of_the_networks_vlan_and_up(host: Host) -> None:
    await on_eth1(host)
    port = host.switch.port("eth1")
    assert port is not None
    assert (port.bridge, port.trunks, port.vlan_mode) == ("br-eth1", (30,), "trunk")
    assert (await host.links.links())["eth1"].up
    assert host.firewall.plan.gateways == ()


async def test_the_trunk_follows_the_networks_and_goes_with_the_last(host: Host) -> None:
    before = await host.nics.state("eth1")
    await on_eth1(host, RED, 30)
    await on_eth1(host, BLUE, 0)
    assert trunks(host) == (0, 30)
    await host.networks.delete(RED)
    assert trunks(host) == (0,)
    await host.networks.delete(BLUE)
    assert host.switch.bridges() == {}
    assert await host.nics.state("eth1") == before
    assert uplink_notes.read(host.state.notes()) == {}


async def test_a_bond_is_one_port_of_all_its_nics(host: Host) -> None:
    await on_eth1(host, uplink=("eth1", "eth2"), bond=BondMode.BALANCE_SLB)
    port = host.switch.port(names.bond_port("br-eth1"))
    assert port is not None
    assert (port.interfaces, port.bond_mode, port.lacp) == (("eth1", "eth2"), "balance-slb", "off")
    await host.networks.delete(RED)
    assert host.switch.bridges() == {}
    assert not any([(await host.links.links())[nic].up for nic in ("eth1", "eth2")])


async def test_how_the_nic_was_is_noted_before_it_is_touched(host: Host) -> None:
    order: list[str] = []
    take, ensure = host.nics.take, host.switch.ensure_uplink

    async def noting(nic: str, *, up: bool = True) -> None:
        order.append(f"take with {sorted(host.state.notes())}")
        await take(nic, up=up)

    async def joining(port: Any, *, awaited: bool = True) -> None:
        order.append("join")
        await ensure(port, awaited=awaited)

    host.nics.take = noting  # type: ignore[method-assign]
    host.switch.ensure_uplink = joining  # type: ignore[method-assign]
    await on_eth1(host)
    assert order == ["take with ['uplink:eth1']", "join"]


@pytest.mark.parametrize(
    ("part", "method"),
    [("nics", "state"), ("nics", "take"), ("switch", "ensure_uplink"), ("state", "put_note")],
)
async def test_nothing_stays_of_an_uplink_that_could_not_be_made(
    host: Host, failing: Callable[[Any, str], None], part: str, method: str
) -> None:
    before = await host.nics.state("eth1")
    failing(getattr(host, part), method)
    with pytest.raises(UnavailableError, match="did not answer"):
        await on_eth1(host)
    assert host.state.networks() == ()
    assert host.switch.bridges() == {}
    assert uplink_notes.read(host.state.notes()) == {}
    assert await host.nics.state("eth1") == before


async def test_a_nic_on_an_adopted_bridge_is_taken_out_and_the_bridge_left(host: Host) -> None:
    host.switch.put_bridge(foreign_bridge("br-lab"))
    await on_eth1(host, bridge="br-lab")
    assert trunks(host) == (30,)
    await host.networks.delete(RED)
    assert trunks(host) is None
    assert host.switch.bridge("br-lab") == foreign_bridge("br-lab")


async def up(host: Host) -> bool:
    return (await host.links.links())["eth1"].up


async def test_its_cable_is_pulled_for_all_and_plugged_in_with_the_end_of_who_pulled_it(
    host: Host,
) -> None:
    await on_eth1(host, RED, 30)
    await on_eth1(host, BLUE, 31)
    await host.changes.network(BLUE, OtherOptions(typed={"ovs.uplink_link": "down"}))
    assert not await up(host)
    assert not (await host.reconciler.reconcile()).mended
    host.links.set_link("eth1", up=True)
    assert "ovs.uplink_link=down" in (await host.reconciler.reconcile()).mended[0]
    again = await host.restart()
    try:
        assert not (await again.reconciler.reconcile()).mended
        assert not await up(again)
        (told,) = report.uplinks(
            report.Scene(owner="ovsnet", state=again.state, switch=again.switch)
        )
        assert "its cable pulled" in told
        await again.networks.delete(BLUE)
        assert await up(again)
        assert not (await again.reconciler.reconcile()).mended
    finally:
        await again.stop()


async def test_no_cable_is_pulled_where_there_is_none_of_ours(host: Host) -> None:
    pull = {"ovs.uplink_link": "down"}
    with pytest.raises(InvalidOptionError, match="needs an uplink"):
        await host.create_network(said=pull)
    wire = {"ovs.uplink": "eth1", "ovs.vlan": "30"}
    host.links.add_link("eth1", mac=EUI("02:00:00:00:00:01"))
    host.links.add_address("eth1", "192.0.2.7/24")
    with pytest.raises(UnsupportedError, match="the host would be cut off"):
        await host.create_network(said={**wire, "ovs.uplink_move": "true", **pull})
    host.switch.put_bridge(foreign_bridge("br-lab"))
    host.switch.put_port(
        ObservedPort(name="eth2", bridge="br-lab", tag=None, interfaces=("eth2",), ofport=1)
    )
    with pytest.raises(ConflictError, match="ip link set eth2 down"):
        await host.create_network(said={"ovs.uplink": "eth2", "ovs.vlan": "30", **pull})


async def test_a_port_of_the_administrators_is_never_touched(host: Host) -> None:
    host.switch.put_bridge(foreign_bridge("br-lab"))
    theirs = ObservedPort(name="eth1", bridge="br-lab", tag=None, interfaces=("eth1",), ofport=1)
    host.switch.put_port(theirs)
    before = await host.nics.state("eth1")
    await on_eth1(host)
    assert (host.switch.port("eth1"), await host.nics.state("eth1")) == (theirs, before)
    await host.reconciler.reconcile()
    await host.networks.delete(RED)
    assert (host.switch.port("eth1"), await host.nics.state("eth1")) == (theirs, before)


async def test_a_port_of_the_administrators_that_he_removed_is_told_and_not_made(
    host: Host,
) -> None:
    host.switch.put_bridge(foreign_bridge("br-lab"))
    host.switch.put_port(
        ObservedPort(name="eth1", bridge="br-lab", tag=None, interfaces=("eth1",), ofport=1)
    )
    await on_eth1(host)
    host.switch.drop_port("eth1")
    looked = await host.reconciler.reconcile()
    assert "put it back: ovs-vsctl add-port br-lab eth1" in looked.beyond[0]
    assert trunks(host) is None


async def test_a_nic_with_an_address_of_the_host_is_refused(host: Host) -> None:
    host.links.add_address("eth1", "192.0.2.7/24")
    with pytest.raises(ConflictError, match=r"carries 192\.0\.2\.7/24"):
        await on_eth1(host)
    assert host.switch.bridges() == {}


async def test_an_uplink_that_was_removed_or_changed_by_hand_is_made_again(host: Host) -> None:
    await on_eth1(host)
    host.switch.drop_port("eth1")
    assert "uplink eth1 is not there" in (await host.reconciler.reconcile()).mended[0]
    assert trunks(host) == (30,)
    port = host.switch.port("eth1")
    assert port is not None
    host.switch.put_port(ObservedPort(**{**_fields(port), "trunks": ()}))
    assert "does not carry exactly VLAN 30" in (await host.reconciler.reconcile()).mended[0]
    assert trunks(host) == (30,)
    host.links.set_link("eth1", up=False)
    assert "eth1 is down" in (await host.reconciler.reconcile()).mended[0]
    assert (await host.links.links())["eth1"].up
    assert (await host.reconciler.reconcile()).mended == ()


def _fields(port: ObservedPort) -> dict[str, Any]:
    return {name: getattr(port, name) for name in port.__dataclass_fields__}


async def test_a_nic_that_is_gone_is_told_and_its_network_can_be_removed(host: Host) -> None:
    await on_eth1(host, RED, 30)
    await on_eth1(host, BLUE, 31)
    host.links.drop_link("eth1")
    host.switch.absent.add("eth1")
    looked = await host.reconciler.reconcile()
    assert looked.mended == ()
    assert "uplink eth1 of bridge br-eth1 is not there" in looked.beyond[0]
    await host.networks.delete(RED)
    assert trunks(host) == (31,)
    await host.networks.delete(BLUE)
    assert host.switch.bridges() == {}
    assert uplink_notes.read(host.state.notes()) == {}


async def test_a_lost_database_brings_the_uplink_back(host: Host) -> None:
    await on_eth1(host)
    host.switch.drop_bridge("br-eth1")
    await host.reconciler.reconcile()
    assert trunks(host) == (30,)


async def test_what_was_noted_outlives_a_crash(host: Host) -> None:
    before = await host.nics.state("eth1")
    await on_eth1(host)
    again = await host.restart()
    await again.reconciler.reconcile()
    await again.networks.delete(RED)
    assert await again.nics.state("eth1") == before
    assert uplink_notes.read(again.state.notes()) == {}
    await again.stop()


async def test_a_purge_makes_the_nic_as_it_was(host: Host) -> None:
    before = await host.nics.state("eth1")
    await on_eth1(host)
    purged = await host.purge.run(switch_wait_s=1)
    assert purged.failed == ()
    assert host.switch.bridges() == {}
    assert await host.nics.state("eth1") == before
    assert uplink_notes.read(host.state.notes()) == {}


async def test_a_network_on_an_uplink_needs_no_gateway_from_its_ipam(host: Host) -> None:
    from ovsdriver.domain.records.requests import NetworkOptions

    skips = host.networks.gateway_skips
    assert skips(NetworkOptions(uplink=("eth1",)), internal=False)
    assert not skips(NetworkOptions(bridge="br-eth1"), internal=False)
    await on_eth1(host)
    assert skips(NetworkOptions(bridge="br-eth1"), internal=False)


async def test_the_mtu_of_the_networks_is_that_of_the_uplink(host: Host) -> None:
    host.links.set_link("eth1", mtu=9000)
    await on_eth1(host)
    network = host.state.network(RED)  # type: ignore[arg-type]
    assert network is not None
    assert network.mtu == 9000


async def test_addresses_of_the_link_alone_do_not_make_a_nic_the_hosts(host: Host) -> None:
    host.links.set_link("eth1", addresses=(IPNetwork("fe80::7/64"),))
    await on_eth1(host)
    assert trunks(host) == (30,)


async def test_the_trunk_follows_what_a_container_was_let_into(host: Host) -> None:
    await on_eth1(host, RED, 30)
    await host.create_network(BLUE, mode=Mode.ISOLATED, bridge="br-eth1", vlan=VlanTag(32))
    options = endpoint_options(trunks=(VlanTag(31), VlanTag(32), VlanTag(33)))
    await host.endpoints.create(NewEndpoint(network=RED, id=FIRST, options=options))
    assert trunks(host) == (30,)
    await host.endpoints.join(RED, FIRST, "/netns/one")
    assert trunks(host) == (30, 31, 33)
    assert (await host.reconciler.reconcile()).mended == ()
    await host.create_network("c3" * 32, mode=Mode.ISOLATED, bridge="br-eth1", vlan=VlanTag(33))
    assert trunks(host) == (30, 31)
    await host.endpoints.leave(RED, FIRST)
    assert trunks(host) == (30,)
    await host.endpoints.delete(RED, FIRST)
    assert trunks(host) == (30,)


async def test_a_tunnel_is_refused_while_open_vswitch_looks_at_one_tag(host: Host) -> None:
    tunnel = {"vlan_mode": VlanMode.DOT1Q_TUNNEL}
    with pytest.raises(UnsupportedError, match="vlan-limit=2"):
        await on_eth1(host, **tunnel)
    host.switch.other_config["vlan-limit"] = "2"
    await on_eth1(host, **tunnel)
    await host.run_container()
    port = host.switch.port(names.host_link(FIRST))
    assert port is not None
    assert (port.vlan_mode, port.tag) == ("dot1q-tunnel", 30)
    assert (await host.reconciler.reconcile()).mended == ()
    assert trunks(host) == (30,)


async def test_an_uplink_that_is_not_there_is_not_made_by_a_removal(host: Host) -> None:
    await on_eth1(host, RED, 30)
    host.switch.drop_port("eth1")
    await on_eth1(host, BLUE, 31)
    host.switch.drop_port("eth1")
    await host.networks.delete(RED)
    assert trunks(host) is None
    await host.reconciler.reconcile()
    assert trunks(host) == (31,)


async def test_status_tells_what_each_wire_carries(host: Host) -> None:
    await on_eth1(host, RED, 30)
    await on_eth1(host, BLUE, 0)
    await host.create_network("c3" * 32, mode=Mode.ISOLATED, bridge="br-eth1", vlan=VlanTag(40))
    scene = report.Scene(owner="ovsnet", state=host.state, switch=host.switch)
    assert report.uplinks(scene) == ("eth1 on br-eth1 carries VLAN 30 and untagged frames",)
    assert report.warnings(scene) == ()
    host.switch.drop_port("eth1")
    assert report.uplinks(scene) == ("eth1 on br-eth1 carries nothing",)
    assert "uplink eth1 of bridge br-eth1: the port is not" in report.warnings(scene)[0]
    told = report.report(scene).networks
    (seen,) = {each.uplink for each in told if each.network.mode is Mode.FLAT}
    assert seen is not None
    assert seen.port == ""
