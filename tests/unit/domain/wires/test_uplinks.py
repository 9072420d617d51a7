"""Which NICs become the uplink of which bridge, and which are refused."""

from dataclasses import replace
from typing import Any

import pytest
from netaddr import EUI, IPNetwork

from ovsdriver import codec
from ovsdriver.domain.plan.bridges.vlan_planning import bridge_name, choose
from ovsdriver.domain.plan.inputs import Defaults, KnownBridge, PlanInputs
from ovsdriver.domain.plan.planning import plan
from ovsdriver.domain.records import uplink_notes
from ovsdriver.domain.records.model import Endpoint, Mode, Network
from ovsdriver.domain.records.options.port_options import VlanMode, VlanTag
from ovsdriver.domain.records.requests import NewNetwork
from ovsdriver.domain.records.segments import BondMode, Datapath, HostPlace, Lacp, Uplink
from ovsdriver.domain.records.uplink_notes import NicNote, NicState
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.observed import LinkTies, ObservedBridge, ObservedLink, ObservedPort
from ovsdriver.domain.wires.uplinks import KnownNic, NicPort, known_nic
from ovsdriver.errors import ConflictError, DriverError, InvalidOptionError, UnsupportedError
from tests.builders import BLUE, RED, a_network, a_segment, altered, an_endpoint, new_network

DEFAULTS = Defaults(bridge="br-ovsnet", datapath=None, vlans=(1, 4094), mtu=1500)
ETH1 = Uplink(nics=("eth1",))
V4 = ("10.1.0.0/24", "10.1.0.1")


def a_nic(name: str = "eth1", **changes: Any) -> KnownNic:
    return KnownNic(name=name, **({"mtu": 1500} | changes))


def a_port(bridge: str = "br-lab", **changes: Any) -> NicPort:
    values: dict[str, Any] = {"name": "eth1", "ours": False, "nics": ("eth1",)} | changes
    return NicPort(bridge=bridge, **values)


def planned(
    new: NewNetwork,
    *nics: KnownNic,
    networks: tuple[Network, ...] = (),
    bridge: KnownBridge | None = None,
    bridges: dict[str, ObservedBridge] | None = None,
    defaults: Defaults = DEFAULTS,
) -> Network:
    name = bridge_name(new.options, defaults, networks, bridges or {})
    around = PlanInputs(
        networks=networks,
        pools=(),
        bridge=bridge,
        routes=(),
        datapaths=("netdev",),
        nics={nic.name: nic for nic in nics},
    )
    return plan(new, choose(new, around, defaults, name), around, defaults)


def on_eth1(network_id: str = RED, tag: int = 30, **changes: Any) -> Network:
    segment = a_segment("br-eth1", tag, uplink=ETH1)
    return a_network(network_id, segment=segment, mode=Mode.FLAT, **changes)


def uplinked(**options: Any) -> NewNetwork:
    return new_network(BLUE, V4, **({"uplink": ("eth1",), "vlan": VlanTag(31)} | options))


def refusal(new: NewNetwork, *nics: KnownNic, **around: Any) -> str:
    with pytest.raises(DriverError) as caught:
        planned(new, *nics, **around)
    return str(caught.value)


def test_an_uplink_has_a_bridge_of_its_own_on_which_networks_are_flat() -> None:
    network = planned(uplinked(), a_nic())
    assert network.segment.bridge == "br-eth1"
    assert network.segment.uplink == ETH1
    assert network.mode is Mode.FLAT


def test_the_end_of_a_long_name_of_a_nic_names_the_bridge() -> None:
    name = "enp129s0f0np0"
    network = planned(uplinked(uplink=(name,)), a_nic(name))
    assert network.segment.bridge == "br-np129s0f0np0"


def test_a_bridge_may_be_named_for_an_uplink() -> None:
    assert planned(uplinked(bridge="br-lab"), a_nic()).segment.bridge == "br-lab"


def test_a_second_network_of_the_same_uplink_is_on_the_same_bridge() -> None:
    network = planned(uplinked(), a_nic(), networks=(on_eth1(),))
    assert (network.segment.bridge, network.segment.uplink) == ("br-eth1", ETH1)


def test_a_network_on_a_bridge_with_an_uplink_is_on_it_without_naming_it() -> None:
    new = uplinked(uplink=(), bridge="br-eth1")
    network = planned(new, a_nic(), networks=(on_eth1(),))
    assert network.segment.uplink == ETH1
    assert network.mode is Mode.FLAT


@pytest.mark.parametrize("closed", [{"internal": True}, {"mode": Mode.ISOLATED}])
def test_a_closed_network_on_that_bridge_is_not_on_the_wire(closed: dict[str, Any]) -> None:
    new = uplinked(uplink=(), bridge="br-eth1", **closed)
    assert planned(new, a_nic(), networks=(on_eth1(),)).segment.uplink is None


@pytest.mark.parametrize("closed", [{"internal": True}, {"mode": Mode.ISOLATED}])
def test_a_closed_network_with_an_uplink_is_a_contradiction(closed: dict[str, Any]) -> None:
    assert "has no way out" in refusal(uplinked(**closed), a_nic())


def test_a_network_with_an_uplink_must_name_its_vlan() -> None:
    assert "has an uplink, so name the VLAN" in refusal(uplinked(vlan=None), a_nic())
    new = uplinked(vlan=None, uplink=(), bridge="br-eth1")
    assert "has an uplink" in refusal(new, a_nic(), networks=(on_eth1(),))


def test_a_range_for_the_bridge_chooses_the_lowest_free_vlan_of_it() -> None:
    defaults = Defaults(
        bridge="br-ovsnet",
        datapath=None,
        vlans=(1, 4094),
        mtu=1500,
        ranges={"br-eth1": (30, 33), "br-lab": (200, 299)},
    )
    network = planned(uplinked(vlan=None), a_nic(), networks=(on_eth1(),), defaults=defaults)
    assert network.segment.tag == 31
    lab = KnownBridge(
        name="br-lab", owned=False, datapath=Datapath.NETDEV, tags=frozenset({200, 201})
    )
    adopted = new_network(BLUE, V4, bridge="br-lab")
    assert planned(adopted, bridge=lab, defaults=defaults).segment.tag == 202


def test_several_nics_are_a_bond() -> None:
    nics = (a_nic("eth1"), a_nic("eth2"))
    uplink = planned(uplinked(uplink=("eth1", "eth2")), *nics).segment.uplink
    assert uplink == Uplink(nics=("eth1", "eth2"), bond=BondMode.ACTIVE_BACKUP)
    options = {"uplink": ("eth1", "eth2"), "bond": BondMode.BALANCE_TCP}
    uplink = planned(uplinked(**options), *nics).segment.uplink
    assert uplink is not None
    assert uplink.lacp is Lacp.ACTIVE


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"bond": BondMode.BALANCE_SLB}, "need several NICs", id="bond of one"),
        pytest.param({"lacp": Lacp.ACTIVE}, "need several NICs", id="lacp of one"),
        pytest.param(
            {"uplink": (), "bond": BondMode.BALANCE_SLB}, "network has none", id="bond of none"
        ),
        pytest.param({"uplink": (), "lacp": Lacp.OFF}, "network has none", id="lacp of none"),
        pytest.param(
            {"uplink": ("eth1", "eth2"), "bond": BondMode.BALANCE_TCP, "lacp": Lacp.OFF},
            "speaks LACP only",
            id="balance-tcp without lacp",
        ),
    ],
)
def test_contradictory_options_of_a_bond_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidOptionError, match=words):
        planned(uplinked(**options), a_nic("eth1"), a_nic("eth2"))


@pytest.mark.parametrize(
    ("nic", "words"),
    [
        pytest.param(
            a_nic(addresses=(IPNetwork("192.0.2.7/24"),)), "carries 192.0.2.7/24", id="address"
        ),
        pytest.param(
            a_nic(routes=(IPNetwork("0.0.0.0/0"),)), "the default route", id="default route"
        ),
        pytest.param(
            a_nic(routes=(IPNetwork("198.51.100.0/24"),)), "route to 198.51.100.0/24", id="route"
        ),
        pytest.param(a_nic(master="br0"), "a part of br0", id="enslaved"),
        pytest.param(a_nic(port=a_port("br-other")), "port of bridge br-other", id="other bridge"),
    ],
)
def test_a_nic_that_somebody_needs_is_refused_with_who(nic: KnownNic, words: str) -> None:
    with pytest.raises(ConflictError, match=words):
        planned(uplinked(bridge="br-mine"), nic)


@pytest.mark.parametrize(
    ("nic", "words"),
    [
        pytest.param(a_nic(kind="bridge"), "a Linux bridge", id="bridge"),
        pytest.param(a_nic(kind="dummy"), "a dummy", id="dummy"),
        pytest.param(a_nic(product=True), "a container's link", id="ours"),
        pytest.param(a_nic(port=a_port(internal=True)), "Open vSwitch made", id="internal port"),
    ],
)
def test_a_link_that_is_no_nic_is_refused(nic: KnownNic, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        planned(uplinked(), nic)


def test_the_loopback_and_a_nic_that_is_not_there_are_refused() -> None:
    assert "the loopback" in refusal(uplinked(uplink=("lo",)), a_nic("lo"))
    assert "has no such link" in refusal(uplinked())


def test_a_nic_of_another_bridge_of_ours_is_refused_with_its_name() -> None:
    words = refusal(uplinked(bridge="br-two"), a_nic(), networks=(on_eth1(),))
    assert "it is the uplink of bridge br-eth1" in words


def test_a_nic_that_is_still_being_freed_is_refused() -> None:
    words = refusal(uplinked(), a_nic(), networks=(on_eth1(ended=True),))
    assert "still being freed from network a1a1" in words


def test_a_bridge_has_one_uplink() -> None:
    words = refusal(
        uplinked(bridge="br-eth1", uplink=("eth2",)), a_nic("eth2"), networks=(on_eth1(),)
    )
    assert "already has the uplink eth1" in words


def test_a_bond_is_not_made_another_one_by_a_second_network() -> None:
    segment = a_segment(
        "br-eth1", 30, uplink=Uplink(nics=("eth1", "eth2"), bond=BondMode.BALANCE_SLB)
    )
    there = a_network(segment=segment, mode=Mode.FLAT)
    nics = (a_nic("eth1"), a_nic("eth2"))
    both = {"uplink": ("eth2", "eth1")}
    assert planned(uplinked(**both), *nics, networks=(there,)).segment.uplink == segment.uplink
    words = refusal(uplinked(**both, bond=BondMode.ACTIVE_BACKUP), *nics, networks=(there,))
    assert "has ovs.bond=balance-slb already" in words


def lab_bridge(*nics: str) -> dict[str, ObservedBridge]:
    port = ObservedPort(name="eth1", bridge="br-lab", tag=None, interfaces=nics or ("eth1",))
    return {
        "br-lab": ObservedBridge(
            name="br-lab", datapath=Datapath.NETDEV, owned=False, ports=(port,)
        )
    }


LAB = KnownBridge(name="br-lab", owned=False, datapath=Datapath.NETDEV)


def test_a_port_that_the_administrator_has_made_is_used_as_it_is() -> None:
    nic = a_nic(port=a_port(), addresses=(IPNetwork("192.0.2.7/24"),))
    network = planned(uplinked(), nic, bridge=LAB, bridges=lab_bridge())
    assert network.segment.bridge == "br-lab"
    assert network.segment.adopted
    assert network.segment.uplink == Uplink(nics=("eth1",), given=True)
    assert desired.uplink_ports([network], owner="ovsnet") == {}


def test_what_that_port_does_not_carry_is_refused_with_what_to_type() -> None:
    narrow = a_nic(port=a_port(trunks=(10, 20)))
    words = refusal(uplinked(), narrow, bridge=LAB, bridges=lab_bridge())
    assert "ovs-vsctl add port eth1 trunks 31" in words
    access = a_nic(port=a_port(tag=31))
    assert planned(uplinked(), access, bridge=LAB, bridges=lab_bridge()).segment.tag == 31


def test_that_port_is_not_changed_by_options() -> None:
    nics = (a_nic("eth1", port=a_port(nics=("eth1", "eth2"))), a_nic("eth2"))
    there = {"bridge": LAB, "bridges": lab_bridge("eth1", "eth2")}
    assert "name exactly" in refusal(uplinked(), *nics, **there)
    both = uplinked(uplink=("eth1", "eth2"), bond=BondMode.BALANCE_SLB)
    assert "does not change it" in refusal(both, *nics, **there)


def test_a_bridge_of_somebody_that_has_the_name_of_ours_must_be_named() -> None:
    here = KnownBridge(name="br-eth1", owned=False, datapath=Datapath.NETDEV)
    assert "with -o ovs.bridge=br-eth1" in refusal(uplinked(), a_nic(), bridge=here)
    named = uplinked(bridge="br-eth1")
    assert planned(named, a_nic(), bridge=here).segment.uplink == ETH1


def test_the_mtu_is_the_uplinks_and_no_more() -> None:
    both = {"uplink": ("eth1", "eth2")}
    nics = (a_nic("eth1", mtu=9000), a_nic("eth2", mtu=4000))
    assert planned(uplinked(**both), *nics).mtu == 4000
    assert planned(uplinked(**both, mtu=1400), *nics).mtu == 1400
    assert "ip link set eth2 mtu 9000" in refusal(uplinked(**both, mtu=9000), *nics)


def test_the_trunk_carries_the_vlans_of_the_networks_that_use_it() -> None:
    inside = a_network("d4" * 32, segment=a_segment("br-eth1", 99))
    networks = [
        on_eth1(RED, 30),
        on_eth1(BLUE, 0),
        inside,
        on_eth1("c3" * 32, 40, ended=True),
    ]
    port = desired.uplink_ports(networks, owner="ovsnet")["br-eth1"]
    assert (port.name, port.nics, port.trunks) == ("eth1", ("eth1",), (0, 30))


def test_the_trunk_carries_what_containers_on_it_list_but_nobodys_closed_network() -> None:
    inside = a_network("d4" * 32, segment=a_segment("br-eth1", 99))
    networks = [on_eth1(RED, 30), inside]
    router = an_endpoint(
        sandbox="/sandbox",
        vlan_mode=VlanMode.NATIVE_UNTAGGED,
        trunks=(VlanTag(31), VlanTag(99)),
    )
    closed = an_endpoint("d1" * 32, network="d4" * 32, sandbox="/two", vlan=VlanTag(40))

    def carried(*endpoints: Endpoint) -> tuple[int, ...]:
        return desired.uplink_ports(networks, endpoints, owner="ovsnet")["br-eth1"].trunks

    assert carried(router, closed) == (30, 31)
    assert carried(altered(router, vlan=VlanTag(32))) == (30, 31, 32)
    assert carried(replace(router, sandbox=None)) == (30,)


def test_without_networks_there_is_no_uplink() -> None:
    assert desired.uplink_ports([on_eth1(ended=True)], owner="ovsnet") == {}


def test_a_nic_is_described_without_what_every_link_has() -> None:
    links = {
        "eth1": ObservedLink(
            name="eth1",
            index=2,
            mtu=1500,
            addresses=(IPNetwork("fe80::1/64"), IPNetwork("192.0.2.7/24")),
            master_index=3,
        ),
        "br0": ObservedLink(name="br0", index=3, kind="bridge"),
    }
    routes = [IPNetwork("fe80::/64"), IPNetwork("0.0.0.0/0")]
    found = known_nic("eth1", links, routes, lab_bridge(), owner="ovsnet")
    assert found is not None
    assert found.addresses == (IPNetwork("192.0.2.7/24"),)
    assert found.routes == (IPNetwork("0.0.0.0/0"),)
    assert found.master == "br0"
    assert found.port == a_port()
    assert known_nic("eth9", links, routes, {}, owner="ovsnet") is None


def test_notes_of_nics_come_back_and_others_are_passed_over() -> None:
    note = NicNote(bridge="br-eth1", before=NicState(up=True, rp_filter=2, disable_ipv6=None))
    notes = {
        uplink_notes.key("eth1"): codec.encode(note),
        uplink_notes.key("eth2"): "{}",
        "sysctl:net/ipv4/ip_forward": "0",
    }
    assert uplink_notes.read(notes) == {"eth1": note}
    assert uplink_notes.read(notes, "br-other") == {}


def test_a_host_on_one_nic_moves_and_on_two_does_not() -> None:
    lived_on = {"addresses": (IPNetwork("192.0.2.7/24"),), "mac": EUI("02:00:00:00:00:e1")}
    both = {"uplink": ("eth1", "eth2"), "uplink_move": True}
    eth1 = a_nic("eth1", mtu=9000, **lived_on)
    uplink = planned(uplinked(**both), eth1, a_nic("eth2", mtu=9000)).segment.uplink
    assert uplink is not None
    # the userspace datapath's taps lose longer frames
    assert uplink.host == HostPlace(mac=EUI("02:00:00:00:00:e1"), mtu=1500)
    with pytest.raises(UnsupportedError, match="both eth1 and eth2 carry"):
        planned(uplinked(**both), eth1, a_nic("eth2", **lived_on))
    with pytest.raises(UnsupportedError, match="has no MAC address"):
        planned(uplinked(uplink_move=True), a_nic("eth1", **{**lived_on, "mac": None}))


@pytest.mark.parametrize(
    ("ties", "many", "said"),
    [
        pytest.param(
            LinkTies(nexthops=(7, 8)),
            1,
            "nexthop object 7 leads through it.*ip nexthop del id 7",
            id="nexthop",
        ),
        pytest.param(
            LinkTies(rules=(1078,)),
            1,
            "policy rule 1078 names it.*ip rule del priority 1078",
            id="rule",
        ),
        pytest.param(LinkTies(), 1000, "carries 1000 routes or more", id="routes"),
        pytest.param(LinkTies(qdisc="htb"), 1, "tc qdisc del dev eth1 root", id="qdisc"),
        pytest.param(LinkTies(qdisc="clsact"), 1, "tc qdisc del dev eth1 clsact", id="clsact"),
    ],
)
def test_a_host_of_which_something_would_stay_behind_is_not_moved(
    ties: LinkTies, many: int, said: str
) -> None:
    lived_on: dict[str, Any] = {
        "addresses": (IPNetwork("192.0.2.7/24"),),
        "routes": (IPNetwork("198.51.100.0/24"),) * many,
        "mac": EUI("02:00:00:00:00:e1"),
        "ties": ties,
    }
    with pytest.raises(UnsupportedError, match=said):
        planned(uplinked(uplink_move=True), a_nic(**lived_on))
    # what was moved before stays where it is
    ours = a_nic(**lived_on, port=a_port("br-eth1", ours=True))
    assert planned(uplinked(uplink_move=True), ours, networks=(on_eth1(),)).segment.uplink


def test_a_plain_uplink_may_be_named_by_rules_but_have_no_classes() -> None:
    assert planned(uplinked(), a_nic(ties=LinkTies(rules=(7,), nexthops=(8,))))
    assert "Open vSwitch would delete its queueing discipline htb" in refusal(
        uplinked(), a_nic(ties=LinkTies(qdisc="htb"))
    )


def test_a_bridge_has_the_host_on_it_as_long_as_a_network_wants_that() -> None:
    host = HostPlace(mac=EUI("02:00:00:00:00:e1"), mtu=1500)
    segment = a_segment("br-eth1", 30, uplink=Uplink(nics=("eth1",), host=host))
    moved = a_network(segment=segment, mode=Mode.FLAT)
    other = a_network(BLUE, segment=a_segment("br-eth1", 40), mode=Mode.ISOLATED)
    bridge = desired.bridge(other.segment, [moved, other], owner="ovsnet")
    assert bridge is not None
    assert bridge.host == host
    bridge = desired.bridge(other.segment, [replace(moved, ended=True), other], owner="ovsnet")
    assert bridge is not None
    assert bridge.host is None
    assert desired.uplink_ports([moved], owner="ovsnet")["br-eth1"].trunks == (0, 30)
