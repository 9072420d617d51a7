"""A kind of segment that is no VLAN is another class, and nothing else has to know of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from netaddr import IPNetwork

from ovsdriver.domain.plan.preview import preview
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Mode, Network, Segment
from ovsdriver.domain.records.options.port_options import PortOptions, VlanMode, VlanTag
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires import desired, mirroring
from ovsdriver.domain.wires.diff import compare
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedLink, ObservedPort
from tests.builders import BLUE, OWNER, a_network, a_segment, an_endpoint

JOINED = an_endpoint(sandbox="/var/run/docker/netns/1234")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """What somebody else's controller makes of ports on its bridge."""

    word: str
    bridge: str = "br-int"
    tag: VlanTag | None = None
    adopted: bool = True
    datapath: Datapath = Datapath.SYSTEM
    uplink: None = None
    outside: bool = False
    has_names: bool = False
    by_ovn: bool = True
    vlans: frozenset[VlanTag] = frozenset()

    @property
    def place(self) -> tuple[str, int]:
        return f"{self.bridge}/{self.word}", 0

    @property
    def shown(self) -> Mapping[str, object]:
        return {"bridge": self.bridge, "segment": self.word}

    @property
    def name(self) -> str:
        return f"segment {self.word}"

    def settled(self, own: PortOptions, networks: PortOptions) -> PortOptions:
        return replace(own | networks, vlan=None)


def on(word: str, **changes: Any) -> Network:
    segment = cast(Segment, Overlay(word=word))
    return a_network(segment=segment, mode=Mode.FLAT, **changes)


def test_a_container_gets_a_port_without_a_tag_on_its_bridge() -> None:
    port = desired.attachment(on("blue"), JOINED, owner=OWNER).port
    assert (port.bridge, port.tag, port.trunks) == ("br-int", None, ())
    assert port.vlan_mode is VlanMode.ACCESS


def test_nothing_of_vlans_and_wires_is_made_for_it() -> None:
    network = on("blue")
    beside = [network, a_network(BLUE, segment=a_segment("br-int", 30, adopted=True))]
    assert desired.bridge(network.segment, beside, owner=OWNER) is None
    assert not desired.uplink_ports(beside, [JOINED], owner=OWNER)
    assert not desired.bridge_flows(beside, "br-int", two_tags=True)
    assert not desired.tag_flows(network, JOINED, beside, two_tags=True)
    assert not mirroring.mirroring("br-int", beside, [JOINED], owner=OWNER).mirrors


def test_it_is_as_it_should_be_once_the_port_is_there() -> None:
    network = on("blue")
    wanted = desired.attachment(network, JOINED, owner=OWNER).port
    port = ObservedPort(
        name=wanted.name,
        bridge="br-int",
        tag=None,
        vlan_mode="access",
        ofport=1,
        ifindex=7,
        tree=False,
        external_ids=wanted.external_ids,
    )
    bridge = ObservedBridge(name="br-int", datapath=Datapath.SYSTEM, owned=False, ports=(port,))
    link = ObservedLink(name=wanted.name, index=7, mtu=network.mtu, up=True)
    seen: dict[str, Any] = {"owner": OWNER, "links": {link.name: link}}
    found = compare([network], [JOINED], bridges={"br-int": bridge}, **seen)
    assert (found.repairs, found.beyond) == ((), ())
    moved = replace(bridge, ports=(replace(port, tag=30),))
    (repair,) = compare([network], [JOINED], bridges={"br-int": moved}, **seen).repairs
    assert "has VLAN 30" in repair.why


def test_who_is_asked_for_a_plan_reads_its_name() -> None:
    found = preview(on("blue"), [], [], owner=OWNER, present=["br-int"])
    assert "bridge br-int (adopted, system); segment blue;" in found.sentence


def test_two_of_them_give_one_ipv6_address_two_macs() -> None:
    address = IPNetwork("fd00::5/64")
    macs = {names.mac_for(address, on(word).segment) for word in ("blue", "red")}
    assert len(macs) == 2
