from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from netaddr import IPNetwork

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId, Mode, Network, NetworkId
from ovsdriver.domain.records.options.port_options import PortKind, VlanMode, VlanTag
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires import desired, diff
from ovsdriver.domain.wires.diff import Difference, compare
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedLink, ObservedPort
from tests.builders import FIRST, RED, a_network, a_segment, altered, an_endpoint

OWNER = "ovsnet"
JOINED = an_endpoint(sandbox="/var/run/docker/netns/1234")
GATEWAY = names.gateway_link(RED)
HOST = names.host_link(FIRST)


def the_bridge(*ports: ObservedPort, name: str = "br-ovsnet") -> Mapping[str, ObservedBridge]:
    bridge = ObservedBridge(name=name, datapath=Datapath.NETDEV, owned=True, ports=ports)
    return {name: bridge}


def a_port(name: str, **changes: Any) -> ObservedPort:
    marks = names.gateway_ids(OWNER, a_network())
    values: dict[str, Any] = {
        "bridge": "br-ovsnet",
        "tag": 1,
        "vlan_mode": "access",
        "ofport": 1,
        "ifindex": 7,
        "tree": name != HOST,
        "external_ids": names.endpoint_ids(OWNER, JOINED, a_segment()) if name == HOST else marks,
    } | changes
    return ObservedPort(name=name, **values)


def a_link(name: str, *addresses: str, up: bool = True) -> ObservedLink:
    return ObservedLink(
        name=name, index=7, mtu=1500, up=up, addresses=tuple(IPNetwork(each) for each in addresses)
    )


def links(*each: ObservedLink) -> Mapping[str, ObservedLink]:
    return {link.name: link for link in each}


def difference(
    *endpoints: Endpoint,
    network: Network | None = None,
    bridges: Mapping[str, ObservedBridge] | None = None,
    found: Mapping[str, ObservedLink] | None = None,
    restoring: Collection[str] = (),
    missing: Collection[str] = (),
) -> Difference:
    return compare(
        [network or a_network()],
        endpoints,
        owner=OWNER,
        bridges=the_bridge(a_port(GATEWAY), a_port(HOST)) if bridges is None else bridges,
        links=links(a_link(GATEWAY, "10.1.0.1/24"), a_link(HOST)) if found is None else found,
        restoring=set(map(EndpointId, restoring)),
        missing=set(map(EndpointId, missing)),
    )


def test_what_is_as_recorded_needs_nothing() -> None:
    assert difference(JOINED) == Difference()


def test_a_lost_bridge_brings_back_network_and_endpoint_in_that_order() -> None:
    repairs = difference(JOINED, bridges={}).repairs
    assert [repair.subject for repair in repairs] == [
        f"network {RED[:12]}",
        f"endpoint {FIRST[:12]}",
    ]
    assert not any(repair.finish for repair in repairs)


def test_a_gateway_without_its_address_or_down_is_repaired() -> None:
    bare = difference(JOINED, found=links(a_link(GATEWAY), a_link(HOST)))
    assert "lacks 10.1.0.1/24" in bare.repairs[0].why
    down = difference(JOINED, found=links(a_link(GATEWAY, "10.1.0.1/24", up=False), a_link(HOST)))
    assert "is down" in down.repairs[0].why
    gone = difference(JOINED, found=links(a_link(HOST)))
    assert "has no device" in gone.repairs[0].why


def test_a_port_with_another_vlan_or_on_another_bridge_is_repaired() -> None:
    moved = difference(JOINED, bridges=the_bridge(a_port(GATEWAY), a_port(HOST, tag=None)))
    assert "has VLAN None, not 1" in moved.repairs[0].why
    elsewhere = difference(JOINED, bridges=the_bridge(a_port(GATEWAY), a_port(HOST, bridge="x")))
    assert "is on bridge x" in elsewhere.repairs[0].why


def test_a_port_that_vswitchd_could_not_take_is_repaired() -> None:
    broken = the_bridge(a_port(GATEWAY), a_port(HOST, error="no such device"))
    assert "no such device" in difference(JOINED, bridges=broken).repairs[0].why


def test_a_lost_link_is_to_be_made_again() -> None:
    (repair,) = difference(JOINED, found=links(a_link(GATEWAY, "10.1.0.1/24"))).repairs
    assert (repair.lost, repair.why) == (True, f"its link {HOST} is gone")


def test_a_link_that_is_down_or_not_in_its_container_is_repaired() -> None:
    gateway, other_end = a_link(GATEWAY, "10.1.0.1/24"), a_link(names.container_link(FIRST))
    (repair,) = difference(JOINED, found=links(gateway, a_link(HOST, up=False))).repairs
    assert (repair.lost, repair.why) == (False, f"its link {HOST} is down")
    made = links(gateway, a_link(HOST), other_end)  # as Join does, before Docker moves it
    assert difference(JOINED, found=made) == Difference()
    (repair,) = difference(JOINED, found=made, missing={FIRST}).repairs
    assert (repair.lost, repair.why) == (True, f"its link {HOST} is not in its container")
    assert difference(JOINED, missing={FIRST}) == Difference()  # somebody moved it on


def test_a_lost_link_of_an_endpoint_that_ended_or_left_is_of_no_matter() -> None:
    without = links(a_link(GATEWAY, "10.1.0.1/24"))
    for endpoint in (replace(JOINED, ended=True), replace(JOINED, sandbox=None)):
        assert not any(each.lost for each in difference(endpoint, found=without).repairs)


def test_what_was_cut_short_is_gone_on_with_though_all_seems_well() -> None:
    (repair,) = difference(JOINED, restoring={FIRST}).repairs
    assert repair.lost
    assert "was cut short" in repair.why
    assert difference(replace(JOINED, sandbox=None), restoring={FIRST}).repairs[0].finish


INNER = an_endpoint(sandbox="/var/run/docker/netns/1234", kind=PortKind.INTERNAL)
TAP = names.internal_link(FIRST)


def inner_difference(
    port: dict[str, Any] | None = None,
    link: ObservedLink | None = None,
    missing: Collection[str] = (),
    **endpoint: Any,
) -> Difference:
    """Compare an internal port whose device is in its container."""
    marks = {
        "external_ids": names.endpoint_ids(OWNER, INNER, a_segment()),
        "ifindex": 0,
        "internal": True,
    }
    there = () if port is None else (a_port(TAP, **(marks | port)),)
    return difference(
        replace(INNER, **endpoint),
        bridges=the_bridge(a_port(GATEWAY), *there),
        found=links(a_link(GATEWAY, "10.1.0.1/24"), *([link] if link else [])),
        missing=missing,
    )


def test_an_internal_port_whose_device_is_in_its_container_needs_nothing() -> None:
    assert inner_difference({}) == Difference()


def test_an_internal_port_before_docker_moves_its_device_needs_nothing() -> None:
    settled = replace(a_link(TAP), alias=names.alias(OWNER, FIRST))
    assert inner_difference({"ifindex": 7}, settled) == Difference()


def test_a_device_that_vswitchd_made_anew_is_to_be_put_into_the_container() -> None:
    (repair,) = inner_difference({"ifindex": 9, "tag": 5}, a_link(TAP)).repairs
    assert repair.lost
    assert "made a new device" in repair.why


def test_an_internal_port_that_was_removed_is_to_be_made_again() -> None:
    for port in (None, {"bridge": "other"}):
        (repair,) = inner_difference(port).repairs
        assert repair.lost
        assert "was removed" in repair.why


def test_a_device_that_is_neither_here_nor_in_its_container_is_to_be_made_again() -> None:
    (repair,) = inner_difference({}, missing={FIRST}).repairs
    assert repair.lost
    assert "is gone from the container" in repair.why
    settled = replace(a_link(TAP), alias=names.alias(OWNER, FIRST))
    assert inner_difference({"ifindex": 7}, settled, missing={FIRST}) == Difference()


def test_vlans_of_an_internal_port_are_repaired_and_its_number_is_left() -> None:
    wrong = inner_difference({"tag": 5, "ofport": 3}, ofport=77)
    assert [repair.why for repair in wrong.repairs] == [f"port {TAP} has VLAN 5, not 1"]
    assert inner_difference({"ofport": 3}, ofport=77) == Difference()


def test_an_internal_port_that_outlived_its_container_is_removed() -> None:
    (repair,) = inner_difference({}, sandbox=None).repairs
    assert (repair.finish, repair.why) == (True, "its port outlived its container")


def test_a_trunk_that_is_not_as_recorded_is_repaired() -> None:
    router = altered(JOINED, vlan_mode=VlanMode.NATIVE_UNTAGGED, trunks=(VlanTag(5), VlanTag(6)))
    right: dict[str, Any] = {"vlan_mode": "native-untagged", "trunks": (5, 6)}
    for change, why in (
        ({}, ""),
        ({"trunks": ()}, "is a trunk of every VLAN, not of 5-6"),
        ({"trunks": (5, 6, 9)}, "is a trunk of 5-6,9, not of 5-6"),
        ({"vlan_mode": "trunk"}, "is not a native-untagged trunk any more"),
        ({"vlan_mode": ""}, "is not a native-untagged trunk any more"),
        ({"tag": None}, "has VLAN None, not 1"),
        ({"protected": True}, "is protected"),
        ({"tree": True}, "is let into its bridge's spanning tree"),
        ({"tree": None}, "is let into its bridge's spanning tree"),
    ):
        there = the_bridge(a_port(GATEWAY), a_port(HOST, **(right | change)))
        found = [repair.why for repair in difference(router, bridges=there).repairs]
        assert found == ([f"port {HOST} {why}"] if why else [])


def test_a_number_that_was_asked_for_is_kept() -> None:
    asked = replace(JOINED, ofport=77)
    (repair,) = difference(asked).repairs
    assert repair.why == f"port {HOST} has OpenFlow port 1, not 77"
    given = the_bridge(a_port(GATEWAY), a_port(HOST, ofport=77))
    assert difference(asked, bridges=given) == Difference()


def test_what_was_ended_is_finished_before_anything_is_made() -> None:
    ended = an_endpoint("d4" * 32, ended=True)
    seen = difference(ended, JOINED, bridges={})
    assert [repair.finish for repair in seen.repairs] == [True, False, False]
    assert seen.repairs[0].endpoint == ended


def test_a_port_of_an_endpoint_that_is_not_plugged_in_is_removed() -> None:
    seen = difference(an_endpoint())
    assert [(repair.finish, repair.why) for repair in seen.repairs] == [
        (True, "its port outlived its container")
    ]


def test_an_endpoint_that_was_created_and_not_joined_is_left_alone() -> None:
    only_gateway = the_bridge(a_port(GATEWAY))
    assert difference(an_endpoint(), bridges=only_gateway) == Difference()


def test_an_ended_network_is_finished_with_its_endpoints() -> None:
    seen = difference(JOINED, network=a_network(ended=True))
    assert [(repair.finish, repair.endpoint) for repair in seen.repairs] == [(True, None)]


def test_an_adopted_bridge_that_is_gone_is_not_made_by_us() -> None:
    flat = a_network(mode=Mode.FLAT, segment=a_segment("br-lab", 30, adopted=True))
    seen = difference(JOINED, network=flat, bridges={}, found=links(a_link(HOST)))
    assert seen.repairs == ()
    assert "br-lab is missing, and ovsnet did not make it" in seen.beyond[0]


def test_a_marked_port_without_a_record_is_reported_and_not_touched() -> None:
    stray = a_port("ovhdeadbeefdead")
    seen = difference(JOINED, bridges=the_bridge(a_port(GATEWAY), a_port(HOST), stray))
    assert seen.repairs == ()
    assert "ovs-vsctl del-port br-ovsnet ovhdeadbeefdead" in seen.beyond[0]


def test_ports_of_others_are_none_of_our_business() -> None:
    foreign = a_port("eth1", external_ids={}, tag=None)
    seen = difference(JOINED, bridges=the_bridge(a_port(GATEWAY), a_port(HOST), foreign))
    assert seen == Difference()


def test_a_gateway_is_desired_only_where_the_mode_has_one() -> None:
    assert desired.gateway(a_network(mode=Mode.ISOLATED), owner=OWNER) is None
    gateway = desired.gateway(a_network(), owner=OWNER)
    assert gateway is not None
    assert [str(address) for address in gateway.addresses] == ["10.1.0.1/24"]


def test_the_firewall_holds_every_standing_network_with_a_gateway_in_a_stable_order() -> None:
    one, two = a_network("22" * 32), a_network("11" * 32)
    away = a_network("33" * 32, ended=True)
    flat = a_network("44" * 32, mode=Mode.FLAT)
    plan = desired.firewall([one, two, away, flat])
    assert [rules.network for rules in plan.gateways] == [
        NetworkId("11" * 32),
        NetworkId("22" * 32),
    ]
    assert plan == desired.firewall([flat, two, away, one])


def test_a_port_that_was_turned_into_a_trunk_is_repaired() -> None:
    for change in ({"vlan_mode": "trunk"}, {"trunks": (5,)}):
        opened = the_bridge(a_port(GATEWAY), a_port(HOST, **change))
        assert "not an access port" in difference(JOINED, bridges=opened).repairs[0].why


def test_a_port_that_lost_its_marks_is_repaired() -> None:
    bare = the_bridge(a_port(GATEWAY), a_port(HOST, external_ids={names.OWNER_KEY: OWNER}))
    assert "lost ovsnet's marks" in difference(JOINED, bridges=bare).repairs[0].why


def test_a_network_that_was_never_made_to_the_end_is_removed() -> None:
    seen = difference(JOINED, network=a_network(made=False))
    assert [(each.finish, each.why) for each in seen.repairs] == [
        (True, "its creation was cut short")
    ]


def test_a_network_whose_pools_docker_released_is_removed() -> None:
    seen = compare([a_network()], [], owner=OWNER, bridges={}, links={}, abandoned={NetworkId(RED)})
    assert [each.finish for each in seen.repairs] == [True]


def test_a_bridges_device_is_deserted_without_its_bridge_and_without_who_holds_it() -> None:
    mark = names.bridge_alias(OWNER, "br-x")
    left = ObservedLink(name="br-x", index=7, kind="tun", alias=mark)

    def deserted(link: ObservedLink, *bridges: str) -> Sequence[str]:
        return diff.deserted(bridges, {link.name: link}, owner=OWNER)

    assert deserted(left) == ["br-x"]
    assert not deserted(left, "br-x")
    assert not deserted(replace(left, carrier=True))
    assert not deserted(replace(left, alias=""))
    assert not deserted(replace(left, name="br-y"))
