"""What a container's options make of its port, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from ovsdriver.domain.plan.port_planning import others_carried, with_options
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.options import vlans
from ovsdriver.domain.records.options.port_options import PortKind, VlanMode, VlanTag
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.diff import compare
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedLink, ObservedPort
from ovsdriver.domain.wires.plumbing import Tap, Veth
from ovsdriver.errors import InvalidOptionError, UnsupportedError
from tests.builders import BLUE, FIRST, a_network, a_segment, altered, an_endpoint, endpoint_options

OWNER = "ovsnet"
HOME = a_network(segment=a_segment(tag=100))
ON_KERNEL = a_network(segment=a_segment(datapath=Datapath.SYSTEM))
UNTAGGED = a_network(segment=a_segment(tag=0))


def tags(*ids: int) -> tuple[VlanTag, ...]:
    return tuple(map(VlanTag, ids))


def planned(network: Network = HOME, **options: Any) -> Endpoint:
    return with_options(an_endpoint(), endpoint_options(**options), network)


def port(endpoint: Endpoint, network: Network = HOME) -> tuple[int | None, str, tuple[int, ...]]:
    made = desired.attachment(network, endpoint, owner=OWNER).port
    return made.tag, made.vlan_mode.value, made.trunks


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, (100, "access", ()), id="nothing"),
        pytest.param({"vlan": VlanTag(7)}, (7, "access", ()), id="another VLAN"),
        pytest.param({"vlan": VlanTag(0)}, (0, "access", ()), id="no VLAN"),
        pytest.param(
            {"trunks": tags(10, 20)}, (100, "native-untagged", (10, 20)), id="trunks alone"
        ),
        pytest.param(
            {"trunks": tags(10), "vlan": VlanTag(7)},
            (7, "native-untagged", (10,)),
            id="trunks and a VLAN",
        ),
        pytest.param(
            {"trunks": tags(10), "vlan_mode": VlanMode.TRUNK}, (None, "trunk", (10,)), id="trunk"
        ),
        pytest.param(
            {"trunks": tags(10), "vlan_mode": VlanMode.NATIVE_TAGGED},
            (100, "native-tagged", (10,)),
            id="native-tagged",
        ),
    ],
)
def test_options_say_which_vlans_a_port_carries(
    options: dict[str, Any], expected: tuple[int | None, str, tuple[int, ...]]
) -> None:
    assert port(planned(**options)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, (100, "native-untagged", (10, 20)), id="the network's"),
        pytest.param({"trunks": tags(30)}, (100, "native-untagged", (30,)), id="a list of its own"),
        pytest.param({"vlan": VlanTag(7)}, (7, "native-untagged", (10, 20)), id="another VLAN"),
        pytest.param({"vlan_mode": VlanMode.ACCESS}, (100, "access", ()), id="access"),
        pytest.param({"vlan_mode": VlanMode.TRUNK}, (None, "trunk", (10, 20)), id="trunk"),
    ],
)
def test_a_containers_trunks_are_its_networks_unless_it_says_others(
    options: dict[str, Any], expected: tuple[int | None, str, tuple[int, ...]]
) -> None:
    stick = altered(HOME, trunks=tags(10, 20))
    made = planned(stick, **options)
    assert port(made, stick) == expected
    assert desired.carried(stick, made) == {*expected[2], expected[0]} - {None}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(
            {"trunks": tags(10, 11, 20), "vlan_mode": VlanMode.ACCESS},
            "ovs.trunks=10-11,20 and ovs.vlan_mode=access contradict",
            id="trunks on an access port",
        ),
        *(
            pytest.param({"vlan_mode": mode}, "add ovs.trunks=", id=f"{mode} without trunks")
            for mode in VlanMode
            if mode.has_trunks
        ),
        pytest.param(
            {"trunks": tags(10), "vlan_mode": VlanMode.TRUNK, "vlan": VlanTag(7)},
            "use ovs.vlan_mode=native-untagged",
            id="a trunk with a VLAN of its own",
        ),
    ],
)
def test_vlans_that_contradict_each_other_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidOptionError, match=words):
        planned(**options)


def test_a_network_without_a_vlan_has_none_to_tag() -> None:
    with pytest.raises(InvalidOptionError, match="needs a VLAN"):
        planned(UNTAGGED, trunks=tags(10), vlan_mode=VlanMode.NATIVE_TAGGED)
    made = planned(UNTAGGED, trunks=tags(10), vlan_mode=VlanMode.NATIVE_TAGGED, vlan=VlanTag(7))
    assert port(made, UNTAGGED) == (7, "native-tagged", (10,))
    assert port(planned(UNTAGGED, trunks=tags(10)), UNTAGGED) == (0, "native-untagged", (0, 10))


def test_the_kind_of_port_is_the_networks_unless_the_container_says_another() -> None:
    inner = altered(HOME, kind=PortKind.INTERNAL)
    assert planned(inner).port.kind is PortKind.INTERNAL
    assert planned(inner, kind=PortKind.VETH).port.kind is PortKind.VETH
    assert planned(HOME, kind=PortKind.INTERNAL).port.kind is PortKind.INTERNAL


def test_an_internal_port_is_a_tap_that_moves_and_a_veth_is_not() -> None:
    inner = planned(kind=PortKind.INTERNAL)
    made = desired.attachment(HOME, inner, owner=OWNER)
    assert isinstance(made.link, Tap)
    assert made.source == made.link.name == made.port.name == names.internal_link(FIRST)
    assert (made.port.internal, made.port.moves) == (True, True)
    assert (made.port.mac, made.port.mtu) == (None, 1500)
    veth = desired.attachment(HOME, planned(), owner=OWNER)
    assert isinstance(veth.link, Veth)
    assert (veth.source, veth.port.moves) == (names.container_link(FIRST), False)


def test_an_internal_port_keeps_its_name_on_the_kernels_datapath_only() -> None:
    inner = planned(altered(ON_KERNEL, kind=PortKind.INTERNAL))
    on_kernel = desired.interface_prefix(ON_KERNEL, inner, Datapath.SYSTEM)
    assert f"{on_kernel}0" == names.internal_link(FIRST)
    assert desired.interface_prefix(HOME, inner, Datapath.NETDEV) == "eth"
    assert desired.interface_prefix(ON_KERNEL, planned(ON_KERNEL), Datapath.SYSTEM) == "eth"


def test_a_name_that_an_internal_port_cannot_have_is_refused() -> None:
    named = replace(ON_KERNEL, interface_prefix="lan")
    with pytest.raises(UnsupportedError, match=r"ovs\.ifprefix=lan .* or use ovs\.port=veth"):
        planned(named, kind=PortKind.INTERNAL)
    assert planned(replace(HOME, interface_prefix="lan"), kind=PortKind.INTERNAL)
    with pytest.raises(UnsupportedError, match=r"ifname=lan0 .* leave com\.docker.*ifname out"):
        planned(ON_KERNEL, kind=PortKind.INTERNAL, interface="lan0")
    assert planned(kind=PortKind.INTERNAL, interface="lan0").interface == "lan0"


def test_frames_that_a_tap_would_lose_are_refused() -> None:
    jumbo = altered(HOME, mtu=9000)
    with pytest.raises(UnsupportedError, match=r"ovs\.mtu=9000 .* at most 1500"):
        planned(jumbo, kind=PortKind.INTERNAL)
    assert planned(altered(ON_KERNEL, mtu=9000), mtu=8000, kind=PortKind.INTERNAL).port.mtu == 8000
    assert planned(jumbo, mtu=8000).port.mtu == 8000


def test_networks_that_a_trunk_lets_into_are_those_of_its_bridge() -> None:
    others = [
        HOME,
        a_network(BLUE, segment=a_segment(tag=10)),
        a_network("c3" * 32, segment=a_segment(tag=11)),
        a_network("d4" * 32, segment=a_segment("br-lab", tag=10)),
        a_network("e5" * 32, segment=a_segment(tag=100), shared=True),
    ]
    router = planned(trunks=tags(10, 100))
    assert [each.id for each in others_carried(router, HOME, others)] == [BLUE]
    assert others_carried(planned(), HOME, others) == []
    away = planned(vlan=VlanTag(11))
    assert [each.id for each in others_carried(away, HOME, others)] == ["c3" * 32]


def test_a_changed_record_is_a_changed_port_which_the_reconciler_makes() -> None:
    """What is stored decides, so a change of it needs nothing else to take effect."""
    before = replace(planned(), sandbox="/sandbox")
    there = _observed(before)
    for change in (
        {"vlan": VlanTag(7)},
        {"vlan_mode": VlanMode.NATIVE_UNTAGGED, "trunks": tags(10)},
        {"protected": True},
        {"ofport": 77},
    ):
        after = altered(before, **change)
        assert _repairs(after, there), change
        assert not _repairs(after, _observed(after)), change


def _observed(endpoint: Endpoint) -> ObservedPort:
    made = desired.attachment(HOME, endpoint, owner=OWNER).port
    return ObservedPort(
        name=made.name,
        bridge=made.bridge,
        tag=made.tag,
        trunks=made.trunks,
        vlan_mode=made.vlan_mode,
        protected=made.protected,
        tree=made.tree,
        ofport=made.ofport or 1,
        ifindex=1,
        external_ids=made.external_ids,
    )


def _repairs(endpoint: Endpoint, there: ObservedPort) -> list[str]:
    bridge = ObservedBridge(name="br-ovsnet", datapath=Datapath.NETDEV, owned=True, ports=(there,))
    link = ObservedLink(name=names.host_link(FIRST), index=1, mtu=1500, up=True)
    seen = compare(
        [replace(HOME, subnets=())],
        [endpoint],
        owner=OWNER,
        bridges={"br-ovsnet": bridge},
        links={link.name: link},
    )
    return [repair.why for repair in seen.repairs]


@pytest.mark.parametrize(
    ("ids", "text"),
    [((), ""), ((5,), "5"), ((5, 6), "5-6"), ((20, 10, 30, 21, 22, 20), "10,20-22,30")],
)
def test_vlans_are_written_as_ranges(ids: tuple[int, ...], text: str) -> None:
    assert vlans.text(ids) == text
