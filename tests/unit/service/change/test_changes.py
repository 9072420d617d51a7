"""Other options for what stands: the record first, then switch, links and rules."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from netaddr import EUI, IPAddress

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, Mode, Publication, Transport
from ovsdriver.domain.records.segments import BondMode
from ovsdriver.errors import (
    ConflictError,
    InvalidOptionError,
    UnavailableError,
    UnknownObjectError,
    UnsupportedError,
)
from ovsdriver.service.change.changes import Done
from ovsdriver.words.changes import OtherOptions
from tests.builders import BLUE, FIRST, RED, SECOND
from tests.unit.service.conftest import Host


async def set_network(host: Host, network: str = RED, **typed: str) -> Done:
    said = {name.replace("__", "."): text for name, text in typed.items()}
    return await host.changes.network(network, OtherOptions(typed=said))  # type: ignore[arg-type]


async def set_endpoint(host: Host, endpoint: str = FIRST, **typed: str) -> Done:
    said = {name.replace("__", "."): text for name, text in typed.items()}
    return await host.changes.endpoint(endpoint, OtherOptions(typed=said))  # type: ignore[arg-type]


def port(host: Host, endpoint: str = FIRST) -> Any:
    found = host.switch.port(names.host_link(endpoint))  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.fixture
async def lab(host: Host) -> Host:
    """A network with two containers, the second of which has a VLAN of its own."""
    await host.create_network(said={"ovs.vlan": "10"})
    await host.run_container(FIRST, sandbox="/netns/one")
    await host.run_container(SECOND, sandbox="/netns/two", said={"ovs.vlan": "20"})
    return host


async def test_a_change_is_recorded_and_made_and_kept_over_a_restart(lab: Host) -> None:
    done = await set_network(lab, ovs__icc="false")
    assert (done.old, done.new) == ({"ovs.icc": "true"}, {"ovs.icc": "false"})
    assert set(done.endpoints) == {FIRST, SECOND}
    assert (port(lab).protected, port(lab, SECOND).protected) == (True, True)
    again = await lab.restart()
    try:
        network = again.state.network(RED)
        assert network is not None
        assert (network.icc, dict(network.options)) == (
            False,
            {"ovs.vlan": "10", "ovs.icc": "false"},
        )
        assert not (await again.reconciler.reconcile()).mended
    finally:
        await again.stop()


async def test_an_emptied_option_goes_back_to_its_default(lab: Host) -> None:
    await set_network(lab, ovs__icc="false")
    done = await set_network(lab, ovs__icc="")
    assert done.new == {"ovs.icc": "true"}
    assert not port(lab).protected
    network = lab.state.network(RED)
    assert network is not None
    assert dict(network.options) == {"ovs.vlan": "10"}


async def test_another_vlan_takes_gateway_and_followers_and_leaves_own_values(lab: Host) -> None:
    done = await set_network(lab, ovs__vlan="30")
    assert done.endpoints == (FIRST,)
    gateway = lab.switch.port(names.gateway_link(RED))
    assert gateway is not None
    assert (gateway.tag, port(lab).tag, port(lab, SECOND).tag) == (30, 30, 20)


async def test_a_taken_vlan_is_refused_and_nothing_changes(lab: Host) -> None:
    await lab.create_network(BLUE, said={"ovs.vlan": "40"})
    before = lab.state.network(RED)
    with pytest.raises(ConflictError, match="VLAN 40 on bridge br-ovsnet carries network b2b2"):
        await set_network(lab, ovs__vlan="40", ovs__icc="false")
    assert lab.state.network(RED) == before
    assert (port(lab).tag, port(lab).protected) == (10, False)
    await set_network(lab, ovs__vlan="40", ovs__shared="true")
    assert port(lab).tag == 40


async def test_the_free_vlan_that_an_emptied_one_takes_is_none_of_its_containers(
    lab: Host,
) -> None:
    assert (await set_network(lab, ovs__vlan="")).new == {"ovs.vlan": "1"}


async def test_ports_gateway_and_uplink_move_in_one_transaction(host: Host) -> None:
    host.links.add_link("eth1")
    typed = {"ovs.uplink": "eth1", "ovs.vlan": "10", "ovs.mode": "nat"}
    await host.create_network(said=typed)
    await host.run_container(FIRST)
    before = len(host.switch.calls)
    await set_network(host, ovs__vlan="30")
    made = host.switch.calls[before:]
    together = f"change_ports {names.host_link(EndpointId(FIRST))} {names.gateway_link(RED)} eth1"
    assert together in made
    rest = made[made.index(together) + 1 :]
    uplink = host.switch.port("eth1")
    assert uplink is not None
    assert uplink.trunks == (30,)
    assert not await host.switch.change_ports([])
    assert rest, "the usual operations look at it again"
    assert not (await host.reconciler.reconcile()).mended


async def test_a_vlan_where_somebody_has_the_gateway_s_address_is_refused(host: Host) -> None:
    host.links.add_link("eth1")
    typed = {"ovs.uplink": "eth1", "ovs.vlan": "10", "ovs.mode": "nat"}
    await host.create_network(said=typed)
    network = host.state.network(RED)
    assert network is not None
    scout, gateway = names.probe_link(RED), network.subnets[0].gateway
    assert gateway is not None
    host.links.answering[(scout, gateway)] = EUI("02:00:00:00:00:01")
    with pytest.raises(ConflictError, match=r"VLAN 30, by 02:00:00:00:00:01"):
        await set_network(host, ovs__vlan="30")
    assert host.state.network(RED) == network
    uplink = host.switch.port("eth1")
    assert uplink is not None
    assert uplink.trunks == (10,)
    assert host.switch.port(scout) is None
    host.links.answering.clear()
    await set_network(host, ovs__vlan="30")
    assert host.switch.port(scout) is None


async def test_another_mtu_is_that_of_gateway_and_both_ends_of_links(lab: Host) -> None:
    await set_endpoint(lab, SECOND, ovs__mtu="1350")
    assert lab.links.sandboxes["/netns/two"].mtu.popitem()[1] == 1350
    done = await set_network(lab, ovs__mtu="1400")
    assert (done.old, done.endpoints) == ({"ovs.mtu": "1500"}, (FIRST,))
    links = await lab.links.links()
    gateway, host_end = links[names.gateway_link(RED)], links[names.host_link(EndpointId(FIRST))]
    assert (gateway.mtu, host_end.mtu) == (1400, 1400)
    assert lab.links.sandboxes["/netns/one"].mtu.popitem()[1] == 1400
    with pytest.raises(InvalidOptionError, match=r"f2f2f2f2f2f2 .* ovs\.mtu=1350: the network"):
        await set_network(lab, ovs__mtu="1300")
    with pytest.raises(InvalidOptionError, match="carries at most 1400"):
        await set_endpoint(lab, ovs__mtu="1500")


async def test_an_mtu_that_was_cut_short_is_mended(
    lab: Host, failing: Callable[[Any, str], None]
) -> None:
    failing(lab.links, "ensure_mtu")
    done = await set_network(lab, ovs__mtu="1400")
    assert done.pending == ("endpoint e1e1e1e1e1e1: ensure_mtu did not answer",)
    (mended,) = (await lab.reconciler.reconcile()).mended
    assert mended.endswith("has MTU 1500, not 1400")
    assert lab.links.sandboxes["/netns/one"].mtu.popitem()[1] == 1400


async def test_an_internal_port_in_a_container_keeps_number_and_mtu(host: Host) -> None:
    await host.create_network(said={"ovs.port": "internal"})
    await host.run_container(FIRST)
    for change in ({"ovs__ofport": "77"}, {"ovs__mtu": "1400"}):
        with pytest.raises(UnsupportedError, match="start the container again"):
            await set_endpoint(host, **change)
    with pytest.raises(UnsupportedError, match="start the container again"):
        await set_network(host, ovs__mtu="1400")
    await set_network(host, ovs__vlan="30", ovs__icc="false")
    port = host.switch.port(names.internal_link(EndpointId(FIRST)))
    assert port is not None
    assert (port.tag, port.protected) == (30, True)


async def test_a_bond_is_changed_for_all_networks_of_its_bridge(host: Host) -> None:
    for nic in ("eth1", "eth2"):
        host.links.add_link(nic)
    typed = {"ovs.uplink": "eth1+eth2", "ovs.vlan": "10"}
    await host.create_network(said=typed)
    await host.create_network(BLUE, said={"ovs.bridge": "br-eth1", "ovs.vlan": "20"})
    done = await set_network(host, ovs__bond="balance-tcp")
    assert done.new == {"ovs.bond": "balance-tcp"}
    bond = host.switch.port(names.bond_port("br-eth1"))
    assert bond is not None
    assert (bond.bond_mode, bond.lacp, bond.trunks) == ("balance-tcp", "active", (10, 20))
    blue = host.state.network(BLUE)  # type: ignore[arg-type]
    assert blue is not None
    assert blue.segment.uplink is not None
    assert blue.segment.uplink.bond is BondMode.BALANCE_TCP
    with pytest.raises(
        ConflictError,
        match=r"the same uplink .* ovsnet set a1a1a1a1a1a1 ovs\.bond=",
    ):
        await set_network(host, BLUE, ovs__bond="balance-slb")
    await set_network(host, ovs__bond="")
    await set_network(host, BLUE, ovs__bond="balance-slb", ovs__lacp="passive")
    bond = host.switch.port(names.bond_port("br-eth1"))
    assert bond is not None
    assert (bond.bond_mode, bond.lacp) == ("balance-slb", "passive")
    assert not (await host.reconciler.reconcile()).mended


async def test_a_bond_of_one_nic_of_none_and_of_the_administrator_s_is_refused(host: Host) -> None:
    host.links.add_link("eth1")
    await host.create_network(said={"ovs.uplink": "eth1", "ovs.vlan": "10"})
    with pytest.raises(InvalidOptionError, match="need several NICs"):
        await set_network(host, ovs__lacp="active")
    await host.create_network(BLUE)
    with pytest.raises(InvalidOptionError, match="this network has none"):
        await set_network(host, BLUE, ovs__bond="balance-slb")


@pytest.mark.parametrize(
    ("typed", "error", "words"),
    [
        pytest.param({"ovs__ic": "false"}, InvalidOptionError, "did you mean", id="unknown"),
        pytest.param({"com.example.x": "1"}, InvalidOptionError, "no option of", id="a label"),
        pytest.param(
            {"ovs__ofport": "5"},
            InvalidOptionError,
            "write ovsnet set NETWORK/CONTAINER ovs.ofport=",
            id="of an endpoint",
        ),
        pytest.param({"ipam__limit": "5"}, UnsupportedError, "pool", id="of the IPAM"),
        pytest.param(
            {"ovs__bridge": "br-lab"}, UnsupportedError, "make another network", id="fixed"
        ),
        pytest.param({"ovs__vlan": "5000"}, InvalidOptionError, "5000", id="out of range"),
        pytest.param(
            {"ovs__mode": "flat"}, UnsupportedError, "only nat and routed", id="another mode"
        ),
        pytest.param(
            {"ovs__cvlans": "5"}, InvalidOptionError, "add ovs.vlan_mode", id="a contradiction"
        ),
        pytest.param(
            {"ovs__vlan_mode": "dot1q-tunnel"}, UnsupportedError, "vlan-limit=2", id="the host"
        ),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    lab: Host, typed: dict[str, str], error: type[Exception], words: str
) -> None:
    before = lab.state.network(RED)
    calls = len(lab.switch.calls)
    with pytest.raises(error, match=words):
        await set_network(lab, **{"ovs__icc": "false"} | typed)
    assert lab.state.network(RED) == before
    assert len(lab.switch.calls) == calls


async def test_nat_becomes_routed_and_nat_again(lab: Host) -> None:
    await set_network(lab, ovs__mode="routed", ovs__isolate="true")
    assert lab.firewall.plan is not None
    assert [each.mode for each in lab.firewall.plan.gateways] == [Mode.ROUTED]
    with pytest.raises(InvalidOptionError, match=r"ovs\.isolate|masquerade"):
        await set_network(
            lab,
            **{"com.docker.network.bridge.enable_ip_masquerade": "true"},
        )
    done = await set_network(lab, ovs__mode="", ovs__isolate="")
    assert done.new == {"ovs.mode": "nat", "ovs.isolate": "false"}


async def test_published_ports_keep_a_network_on_nat_and_a_container_in_its_vlan(
    lab: Host,
) -> None:
    endpoint = lab.state.endpoint(FIRST)
    assert endpoint is not None
    published = Publication(
        protocol=Transport.TCP,
        host=IPAddress("0.0.0.0"),
        host_port=8080,
        address=endpoint.addresses[0].ip,
        port=80,
    )
    await lab.state.put_endpoint(replace(endpoint, published=(published,)))
    with pytest.raises(UnsupportedError, match=r"published port 80/tcp .* ovs\.mode=routed are"):
        await set_network(lab, ovs__mode="routed")
    with pytest.raises(UnsupportedError, match="outside the network's VLAN"):
        await set_endpoint(lab, ovs__vlan="77")
    await set_network(lab, ovs__vlan="31")


async def test_a_container_s_options_change_its_port_alone(lab: Host) -> None:
    done = await set_endpoint(lab, ovs__trunks="5,7-9", ovs__protected="true")
    assert done.new == {"ovs.trunks": "5,7-9", "ovs.protected": "true"}
    assert done.endpoints == (FIRST,)
    assert (port(lab).trunks, port(lab).vlan_mode) == ((5, 7, 8, 9), "native-untagged")
    assert port(lab, SECOND).trunks == ()
    done = await set_endpoint(lab, ovs__trunks="")
    assert (done.old, done.new) == ({"ovs.trunks": "5,7-9"}, {"ovs.trunks": None})
    assert (port(lab).vlan_mode, port(lab).protected) == ("access", True)
    with pytest.raises(InvalidOptionError, match=r"add ovs\.trunks="):
        await set_endpoint(lab, ovs__vlan_mode="trunk")


async def test_an_own_vlan_is_given_up_for_the_network_s(lab: Host) -> None:
    assert (await set_endpoint(lab, SECOND, ovs__vlan="")).new == {"ovs.vlan": "10"}
    assert port(lab, SECOND).tag == 10
    await set_network(lab, ovs__vlan="30")
    assert port(lab, SECOND).tag == 30


async def test_a_number_that_another_port_has_is_refused_and_the_record_stays(lab: Host) -> None:
    await set_endpoint(lab, SECOND, ovs__ofport="77")
    before = lab.state.endpoint(FIRST)
    with pytest.raises(ConflictError, match=r"ovs\.ofport=77"):
        await set_endpoint(lab, ovs__ofport="77", ovs__protected="true")
    assert lab.state.endpoint(FIRST) == before
    assert not port(lab).protected


async def test_a_container_stands_against_what_its_network_would_make_of_it(lab: Host) -> None:
    await set_endpoint(lab, ovs__vlan_mode="native-tagged", ovs__trunks="5")
    with pytest.raises(InvalidOptionError, match=r"endpoint e1e1e1e1e1e1 of this network: ovs\."):
        await set_network(lab, ovs__vlan="none")


async def test_what_does_not_answer_is_said_and_mended_later(
    lab: Host, failing: Callable[[Any, str], None]
) -> None:
    failing(lab.switch, "ensure_port")
    done = await set_endpoint(lab, ovs__protected="true")
    assert done.pending == ("ensure_port did not answer",)
    assert not port(lab).protected
    await lab.reconciler.reconcile()
    assert port(lab).protected


async def test_without_a_switch_nothing_is_changed(lab: Host) -> None:
    before = lab.state.network(RED)
    lab.switch.available = False
    with pytest.raises(UnavailableError):
        await set_network(lab, ovs__icc="false")
    assert lab.state.network(RED) == before


async def test_what_is_not_there_cannot_be_changed(host: Host) -> None:
    with pytest.raises(UnknownObjectError):
        await set_network(host, ovs__icc="false")
    with pytest.raises(UnknownObjectError):
        await set_endpoint(host, ovs__vlan="7")


async def test_the_same_again_changes_nothing(lab: Host) -> None:
    await set_network(lab, ovs__icc="false")
    done = await set_network(lab, ovs__icc="false")
    assert (done.old, done.new, done.endpoints) == (done.new, {"ovs.icc": "false"}, ())


class Gate:
    """Holds the next call of a method until it is opened."""

    def __init__(self, target: Any, method: str) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        working = getattr(target, method)

        async def held(*args: Any, **kwargs: Any) -> Any:
            setattr(target, method, working)
            self.reached.set()
            await self.open.wait()
            return await working(*args, **kwargs)

        setattr(target, method, held)


async def test_a_join_that_began_before_the_change_ends_in_the_new_vlan(lab: Host) -> None:
    third = "3c" * 32
    await lab.create_endpoint(third)
    gate = Gate(lab.links, "ensure_veth")
    joining = asyncio.create_task(lab.endpoints.join(RED, EndpointId(third), "/netns/three"))
    await gate.reached.wait()
    following = Gate(lab.replugs, "ensure")
    changing = asyncio.create_task(set_network(lab, ovs__vlan="30"))
    await following.reached.wait()
    following.open.set()
    gate.open.set()
    await asyncio.gather(joining, changing)
    assert port(lab, third).tag == 30


async def test_an_endpoint_that_does_not_fit_the_network_any_more_is_not_made(lab: Host) -> None:
    third = "3c" * 32
    gate = Gate(lab.ipam, "lease")
    making = asyncio.create_task(lab.create_endpoint(third, said={"ovs.mtu": "1450"}))
    await gate.reached.wait()
    await set_network(lab, ovs__mtu="1400")
    gate.open.set()
    with pytest.raises(InvalidOptionError, match="the network carries at most 1400"):
        await making
    assert lab.state.endpoint(EndpointId(third)) is None


async def test_an_endpoint_that_came_in_between_stands_against_the_change(lab: Host) -> None:
    before = lab.state.network(RED)
    gate = Gate(lab.state, "put_networks")
    changing = asyncio.create_task(set_network(lab, ovs__mtu="1400"))
    await gate.reached.wait()
    await lab.create_endpoint("3c" * 32, said={"ovs.mtu": "1450"})
    gate.open.set()
    with pytest.raises(InvalidOptionError, match="the network carries at most 1400"):
        await changing
    assert lab.state.network(RED) == before
    links = await lab.links.links()
    assert links[names.gateway_link(RED)].mtu == 1500


@pytest.mark.parametrize("also", [False, True])
async def test_what_is_refused_half_way_is_put_back(
    lab: Host, failing: Callable[[Any, str], None], also: bool
) -> None:
    before = lab.state.network(RED)
    working = lab.firewall.ensure

    async def refusing(plan: Any) -> bool:
        lab.firewall.ensure = working  # type: ignore[method-assign]
        if also:
            failing(lab.switch, "change_ports")
        raise ConflictError("a table of that name is somebody else's")

    lab.firewall.ensure = refusing  # type: ignore[method-assign]
    with pytest.raises(ConflictError, match="somebody else"):
        await set_network(lab, ovs__vlan="30", ovs__mode="routed")
    assert lab.state.network(RED) == before
    await lab.reconciler.reconcile()
    assert port(lab).tag == 10
    assert [each.mode for each in lab.firewall.plan.gateways] == [Mode.NAT]
