import re
from dataclasses import replace
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import PoolId
from ovsdriver.domain.plan.bridges.vlan_planning import bridge_name, choose, foreign_tags
from ovsdriver.domain.plan.inputs import Defaults, HostRoute, KnownBridge, KnownPool, PlanInputs
from ovsdriver.domain.plan.planning import overlap, plan
from ovsdriver.domain.records.model import HostAccess, Mode, Network, NetworkId
from ovsdriver.domain.records.options.features import Features
from ovsdriver.domain.records.options.port_options import PortKind, Rate, VlanMode, VlanTag
from ovsdriver.domain.records.requests import NewNetwork, TypedGateway
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires import desired
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError
from ovsdriver.words import access_words
from tests.builders import (
    BLUE,
    RED,
    a_network,
    a_segment,
    a_subnet,
    altered,
    an_endpoint,
    new_network,
)

DEFAULTS = Defaults(
    bridge="br-ovsnet", datapath=None, vlans=(1, 4094), mtu=1500, spaces=frozenset({"ovsnet"})
)
V4 = ("10.1.0.0/24", "10.1.0.1")
V6 = ("fd00:1::/64", "fd00:1::1")


def planned(new: NewNetwork, defaults: Defaults = DEFAULTS, **around: Any) -> Network:
    values: dict[str, Any] = {
        "networks": (),
        "pools": (),
        "bridge": None,
        "routes": (),
        "datapaths": ("netdev",),
    } | around
    bridge = bridge_name(new.options, defaults, values["networks"], {})
    around = PlanInputs(**values)
    return plan(new, choose(new, around, defaults, bridge), around, defaults)


def a_bridge(name: str = "br-lab", **changes: Any) -> KnownBridge:
    values: dict[str, Any] = {"owned": False, "datapath": Datapath.NETDEV} | changes
    return KnownBridge(name=name, **values)


def a_pool(space: str = "ovsnet", *, typed: bool = False, gateway: str = "10.1.0.1") -> KnownPool:
    return KnownPool(
        id=PoolId(f"{space}/p"),
        space=space,
        subnet=IPNetwork(V4[0]),
        gateway=IPAddress(gateway),
        gateway_typed=typed,
    )


def test_a_network_without_options_is_nat_on_our_bridge_with_the_lowest_vlan() -> None:
    network = planned(new_network(RED, V4))
    assert network.mode is Mode.NAT
    assert network.segment == a_segment("br-ovsnet", 1)
    assert network.subnets[0].gateway == IPAddress("10.1.0.1")
    assert network.mtu == 1500


def test_the_next_network_gets_the_next_vlan_that_neither_we_nor_others_use() -> None:
    bridge = a_bridge("br-ovsnet", owned=True, tags=frozenset({2, 3}))
    network = planned(
        new_network(BLUE, ("10.2.0.0/24", "10.2.0.1")), networks=[a_network()], bridge=bridge
    )
    assert network.segment.tag == 4


def test_a_full_range_of_vlans_is_refused_with_what_to_do() -> None:
    tight = Defaults(bridge="br-ovsnet", datapath=None, vlans=(1, 1), mtu=1500)
    with pytest.raises(ConflictError, match=r"no VLAN of 1 to 1 is free.*vlans"):
        planned(new_network(BLUE, V4), tight, networks=[a_network()])


def test_a_vlan_of_another_network_is_refused_unless_shared() -> None:
    taken = new_network(BLUE, ("10.2.0.0/24", "10.2.0.1"), vlan=VlanTag(1))
    with pytest.raises(ConflictError, match=r"VLAN 1 on bridge br-ovsnet carries network a1a1"):
        planned(taken, networks=[a_network()])
    shared = new_network(BLUE, ("10.2.0.0/24", "10.2.0.1"), vlan=VlanTag(1), shared=True)
    assert planned(shared, networks=[a_network()]).shared


def test_the_same_vlan_on_another_bridge_is_free() -> None:
    new = new_network(BLUE, ("10.2.0.0/24", "10.2.0.1"), vlan=VlanTag(1), bridge="br-two")
    assert planned(new, networks=[a_network()]).segment.tag == 1


def test_vlan_none_is_tag_zero_and_never_an_empty_tag() -> None:
    assert planned(new_network(RED, V4, vlan=VlanTag(0))).segment.tag == 0


def test_an_adopted_bridge_defaults_to_flat_and_puts_no_gateway_on_the_host() -> None:
    network = planned(
        new_network(RED, V4, bridge="br-lab", vlan=VlanTag(30)), bridge=a_bridge(), pools=[a_pool()]
    )
    assert (network.mode, network.segment.adopted) == (Mode.FLAT, True)
    assert network.subnets[0].gateway is None


def test_a_flat_network_tells_only_a_gateway_that_was_typed() -> None:
    new = new_network(RED, V4, bridge="br-lab", vlan=VlanTag(30))
    typed = planned(new, bridge=a_bridge(), pools=[a_pool(typed=True)])
    assert typed.subnets[0].gateway == IPAddress("10.1.0.1")
    said = new_network(
        RED,
        V4,
        bridge="br-lab",
        vlan=VlanTag(30),
        gateways=TypedGateway(addresses=(IPAddress("10.1.0.254"),)),
    )
    assert planned(said, bridge=a_bridge()).subnets[0].gateway == IPAddress("10.1.0.254")


def test_an_adopted_bridge_needs_its_vlan_said() -> None:
    with pytest.raises(InvalidOptionError, match=r"-o ovs\.vlan="):
        planned(new_network(RED, V4, bridge="br-lab"), bridge=a_bridge())


def test_a_vlan_that_foreign_ports_carry_is_joined_when_it_was_said() -> None:
    new = new_network(RED, V4, bridge="br-lab", vlan=VlanTag(30))
    bridge = a_bridge(tags=frozenset({30}))
    assert planned(new, bridge=bridge).segment.tag == 30


def test_an_adopted_bridge_that_is_gone_is_not_made_by_us() -> None:
    earlier = a_network(segment=a_segment("br-lab", 5, adopted=True), mode=Mode.FLAT)
    with pytest.raises(UnsupportedError, match=r"br-lab was adopted .* is not there now"):
        planned(new_network(BLUE, V4, bridge="br-lab", vlan=VlanTag(6)), networks=[earlier])


def test_ovns_integration_bridge_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="OVN's integration bridge"):
        planned(
            new_network(RED, V4, bridge="br-int", vlan=VlanTag(6)),
            bridge=a_bridge("br-int", integration=True),
        )


def test_an_internal_network_is_isolated_and_has_no_gateway() -> None:
    network = planned(new_network(RED, V4, internal=True))
    assert network.mode is Mode.ISOLATED
    assert network.subnets[0].gateway is None
    with pytest.raises(InvalidOptionError, match="contradict"):
        planned(new_network(RED, V4, internal=True, mode=Mode.NAT))


def test_without_any_subnet_a_network_is_flat_and_explicit_nat_is_refused() -> None:
    assert planned(new_network(RED, ("0.0.0.0/0", None))).mode is Mode.FLAT
    with pytest.raises(InvalidOptionError, match="needs a subnet and a gateway"):
        planned(new_network(RED, ("0.0.0.0/0", None), mode=Mode.NAT))


def test_a_subnet_is_bound_to_the_pool_of_its_space() -> None:
    pools = [a_pool("blue"), a_pool("ovsnet")]
    assert planned(new_network(RED, V4), pools=pools).subnets[0].pool == "ovsnet/p"
    chosen = planned(new_network(RED, V4), pools=pools[:1])
    assert chosen.subnets[0].pool == "blue/p"


def test_two_pools_that_fit_are_refused_until_the_space_is_said() -> None:
    pools = [a_pool("blue"), a_pool("green")]
    with pytest.raises(ConflictError, match=r"\(blue, green\); name one with -o ovs\.space="):
        planned(new_network(RED, V4), pools=pools)


def test_a_space_without_such_a_pool_is_refused() -> None:
    new = NewNetwork(
        id=RED,
        subnets=new_network(RED, V4).subnets,
        options=type(new_network().options)(space="green"),
    )
    with pytest.raises(InvalidOptionError, match=re.escape("ipam.space=green")):
        planned(new, pools=[a_pool("blue")])


def test_another_ipam_s_subnet_is_bound_to_no_pool() -> None:
    subnet = planned(new_network(RED, V4, space="LocalDefault"), pools=[a_pool()]).subnets[0]
    assert (subnet.pool, subnet.space) == (None, "LocalDefault")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param(
            {"gateways": TypedGateway(addresses=(IPAddress("10.9.0.1"),))},
            "lies in no subnet",
            id="outside",
        ),
        pytest.param(
            {"gateways": TypedGateway(addresses=(IPAddress("10.1.0.9"),))},
            "say it once, with --gateway",
            id="differs",
        ),
        pytest.param(
            {"gateways": TypedGateway(container="vpn")},
            "this host is the gateway",
            id="container",
        ),
    ],
)
def test_a_gateway_that_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidOptionError, match=text):
        planned(new_network(RED, V4, **options))


def test_nat_without_a_gateway_address_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="came without a gateway"):
        planned(new_network(RED, ("10.1.0.0/24", None)))


def test_a_gateway_outside_of_its_subnet_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="outside of the subnet"):
        planned(new_network(RED, ("10.1.0.0/24", "10.2.0.1")))


def test_ipv6_needs_its_minimum_mtu() -> None:
    with pytest.raises(InvalidOptionError, match="1280"):
        planned(new_network(RED, V4, V6, mtu=1000))
    assert planned(new_network(RED, V4, mtu=1000)).mtu == 1000


def test_jumbo_frames_are_refused_only_where_a_userspace_gateway_would_lose_them() -> None:
    with pytest.raises(UnsupportedError, match="1500"):
        planned(new_network(RED, V4, mtu=9000))
    assert planned(new_network(RED, V4, mtu=9000, mode=Mode.ISOLATED)).mtu == 9000
    kernel = planned(new_network(RED, V4, mtu=9000), datapaths=("netdev", "system"))
    assert kernel.segment.datapath is Datapath.SYSTEM


def test_a_network_with_a_gateway_may_not_overlap_a_route_of_the_host() -> None:
    routes = [
        HostRoute(destination=IPNetwork("0.0.0.0/0"), link="eth0"),
        HostRoute(destination=IPNetwork("10.0.0.0/8"), link="tun0"),
    ]
    with pytest.raises(ConflictError, match=r"10\.0\.0\.0/8 via tun0"):
        planned(new_network(RED, V4), routes=routes)
    assert planned(new_network(RED, V4, mode=Mode.ISOLATED), routes=routes)


def test_two_networks_with_gateways_may_not_overlap_but_isolated_ones_may() -> None:
    with pytest.raises(ConflictError, match="overlaps"):
        planned(new_network(BLUE, ("10.1.0.128/25", "10.1.0.129")), networks=[a_network()])
    isolated = a_network(mode=Mode.ISOLATED, subnets=(a_subnet(gateway=None),))
    assert planned(new_network(BLUE, V4), networks=[isolated])


def test_a_datapath_that_contradicts_the_bridge_is_refused() -> None:
    new = new_network(RED, V4, datapath=Datapath.SYSTEM)
    with pytest.raises(ConflictError, match="exists with datapath netdev"):
        planned(new, bridge=a_bridge("br-ovsnet", owned=True))
    with pytest.raises(UnsupportedError, match="offers netdev"):
        planned(new)


@pytest.mark.parametrize(
    ("one", "other", "result"),
    [
        ("10.0.0.0/8", "10.1.0.0/16", True),
        ("10.1.0.0/16", "10.0.0.0/8", True),
        ("10.1.0.0/16", "10.2.0.0/16", False),
        ("::/96", "0.0.0.0/1", False),
    ],
)
def test_overlap_is_symmetric_and_keeps_families_apart(one: str, other: str, result: bool) -> None:
    assert overlap(IPNetwork(one), IPNetwork(other)) is result


def test_tags_in_use_are_access_tags_and_trunks_but_not_an_open_trunk() -> None:
    assert foreign_tags([(5, ()), (None, (6, 7)), (None, ())]) == {5, 6, 7}


def test_a_name_that_an_ordinary_link_has_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="wan0 is an ordinary link"):
        planned(new_network(RED, V4, bridge="wan0"), ordinary_link=True)


def test_the_default_mtu_on_an_adopted_bridge_is_what_its_wire_carries() -> None:
    new = new_network(RED, V4, bridge="br-lab", vlan=VlanTag(30))
    assert planned(new, bridge=a_bridge(), wire_mtu=1400).mtu == 1400
    said = new_network(RED, V4, bridge="br-lab", vlan=VlanTag(30), mtu=1300)
    assert planned(said, bridge=a_bridge(), wire_mtu=1400).mtu == 1300


def test_a_vlan_that_is_still_being_freed_is_named_as_such() -> None:
    new = new_network(BLUE, ("10.2.0.0/24", "10.2.0.1"), vlan=VlanTag(1))
    with pytest.raises(ConflictError, match="still being freed"):
        planned(new, networks=[a_network(ended=True)])


@pytest.mark.parametrize("options", [{}, {"mode": Mode.FLAT}, {"mode": Mode.ISOLATED}])
def test_a_network_whose_pool_wants_it_is_asked_before_addresses_are_given(
    options: dict[str, Any],
) -> None:
    asking = replace(a_pool(), probe=True)
    assert planned(new_network(RED, V4, **options), pools=[asking]).probe
    assert not planned(new_network(RED, V4, **options), pools=[a_pool()]).probe


def test_a_pool_that_a_network_is_not_bound_to_does_not_make_it_ask() -> None:
    other = replace(a_pool(), id=PoolId("ovsnet/q"), subnet=IPNetwork("10.9.0.0/24"), probe=True)
    assert not planned(new_network(RED, V4), pools=[a_pool(), other]).probe


def test_one_pool_of_two_is_enough_to_ask() -> None:
    six = replace(
        a_pool(),
        id=PoolId("ovsnet/six"),
        subnet=IPNetwork(V6[0]),
        gateway=IPAddress(V6[1]),
        probe=True,
    )
    assert planned(new_network(RED, V4, V6), pools=[a_pool(), six]).probe


def test_a_chosen_vlan_is_none_that_a_container_was_let_into() -> None:
    home = a_network(BLUE, segment=a_segment(tag=1), subnets=())
    elsewhere = a_network("c3" * 32, segment=a_segment("br-lab", tag=1), subnets=())
    router = an_endpoint(
        network=BLUE,
        vlan_mode=VlanMode.NATIVE_UNTAGGED,
        trunks=(VlanTag(2), VlanTag(3)),
    )
    away = an_endpoint("d1" * 32, network=BLUE, vlan=VlanTag(4))
    ended = an_endpoint("d2" * 32, network=BLUE, vlan=VlanTag(5), ended=True)
    other = an_endpoint("d3" * 32, network="c3" * 32, vlan=VlanTag(5))
    around = {"networks": (home, elsewhere), "endpoints": (router, away, ended, other)}
    assert planned(new_network(RED, V4), **around).segment.tag == 5
    asked = planned(new_network(RED, V4, vlan=VlanTag(2)), **around)
    assert asked.segment.tag == 2, "what is said is done"
    with pytest.raises(ConflictError, match=r"a container with ovs\.trunks"):
        planned(new_network(RED, V4), replace(DEFAULTS, vlans=(1, 4)), **around)


def test_a_chosen_vlan_is_none_that_a_network_lets_its_containers_into() -> None:
    stick = a_network(BLUE, segment=a_segment(tag=1), subnets=(), trunks=(VlanTag(2), VlanTag(4)))
    assert planned(new_network(RED, V4), networks=(stick,)).segment.tag == 3
    made = planned(new_network(RED, V4, trunks=(VlanTag(1), VlanTag(3))))
    assert (made.segment.tag, made.port.trunks) == (2, (1, 3))


@pytest.mark.parametrize("mode", [VlanMode.ACCESS, VlanMode.DOT1Q_TUNNEL])
def test_trunks_of_a_network_leave_it_no_mode(mode: VlanMode) -> None:
    with pytest.raises(InvalidOptionError, match=r"ovs\.trunks=2 and ovs\.vlan_mode=.* contradict"):
        planned(new_network(RED, V4, vlan=VlanTag(9), trunks=(VlanTag(2),), vlan_mode=mode))


def test_internal_ports_of_a_network_are_refused_what_they_cannot_do() -> None:
    inner: dict[str, Any] = {"kind": PortKind.INTERNAL, "mode": Mode.ISOLATED}
    with pytest.raises(UnsupportedError, match=r"ovs\.mtu=9000 with ovs\.port=internal"):
        planned(new_network(RED, V4, mtu=9000, **inner))
    kernel = {"datapaths": ("system", "netdev")}
    assert planned(new_network(RED, V4, mtu=9000, **inner), **kernel).mtu == 9000
    for prefix in ("lan", "eth"):
        with pytest.raises(UnsupportedError, match=f"ovs.ifprefix={prefix} with ovs.port=internal"):
            planned(new_network(RED, V4, interface_prefix=prefix, **inner), **kernel)
    named = planned(new_network(RED, V4, interface_prefix="lan", **inner))
    assert (named.interface_prefix, named.port.kind) == ("lan", PortKind.INTERNAL)


def test_a_binding_of_published_ports_is_of_nat_networks_and_their_families() -> None:
    local, six = IPAddress("127.0.0.1"), IPAddress("::1")
    assert planned(new_network(RED, V4, bindings=(local,))).bindings == (local,)
    with pytest.raises(InvalidOptionError, match=r"ovs\.mode=isolated publishes no ports"):
        planned(new_network(RED, V4, bindings=(local,), mode=Mode.ISOLATED))
    with pytest.raises(InvalidOptionError, match="the network has no IPv6 subnet"):
        planned(new_network(RED, V4, bindings=(six,)))


@pytest.mark.parametrize("mode", [Mode.NAT, Mode.ROUTED])
def test_a_routed_network_is_planned_as_a_nat_one_is(mode: Mode) -> None:
    network = planned(new_network(RED, V4, V6, mode=mode))
    assert (network.mode, network.mode6) == (mode, None)
    assert [str(each.gateway) for each in network.subnets] == ["10.1.0.1", "fd00:1::1"]
    assert (network.isolate, network.icc) == (False, True)


@pytest.mark.parametrize(
    ("subnets", "modes"),
    [
        pytest.param((V4, V6), (Mode.NAT, Mode.ROUTED), id="both"),
        pytest.param((V6,), (Mode.ROUTED, None), id="only-ipv6"),
    ],
)
def test_a_mode_of_ipv6_is_that_of_the_subnets_there_are(
    subnets: tuple[tuple[str, str], ...], modes: tuple[Mode, Mode | None]
) -> None:
    network = planned(new_network(RED, *subnets, mode=Mode.NAT, mode6=Mode.ROUTED))
    assert (network.mode, network.mode6) == modes
    assert network.mode_of(6) is Mode.ROUTED


@pytest.mark.parametrize(
    ("subnet", "modes", "words"),
    [
        pytest.param(V4, (Mode.NAT, Mode.ROUTED), "ipv6=routed: the network has no IPv6", id="6"),
        pytest.param(V6, (Mode.ROUTED, Mode.NAT), "ipv4=routed: the network has no IPv4", id="4"),
    ],
)
def test_a_mode_of_a_family_that_is_not_there_is_refused(
    subnet: tuple[str, str], modes: tuple[Mode, Mode], words: str
) -> None:
    with pytest.raises(InvalidOptionError, match=words):
        planned(new_network(RED, subnet, mode=modes[0], mode6=modes[1]))


def test_what_follows_for_a_family_that_is_not_there_is_no_matter() -> None:
    network = planned(new_network(RED, V4, mode=Mode.ROUTED, mode6=Mode.NAT))
    assert (network.mode, network.mode6) == (Mode.ROUTED, None)


def test_on_docker_s_gateway_bridge_nothing_is_on_this_host_and_no_gateway_is_told() -> None:
    network = planned(new_network(RED, V4, mode=Mode.GWBRIDGE), pools=[a_pool()])
    assert network.subnets[0].gateway is None
    assert not network.mode.has_gateway


def test_a_gateway_beside_docker_s_own_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match=r"--gateway 10\.1\.0\.1: .*docker_gwbridge"):
        planned(new_network(RED, V4, mode=Mode.GWBRIDGE), pools=[a_pool(typed=True)])
    typed = new_network(
        RED,
        ("10.1.0.0/24", None),
        mode=Mode.GWBRIDGE,
        gateways=TypedGateway(addresses=(IPAddress("10.1.0.9"),)),
    )
    with pytest.raises(InvalidOptionError, match=r"ovs\.gateway=10\.1\.0\.9: .*docker_gwbridge"):
        planned(typed)


@pytest.mark.parametrize("mode", [Mode.ROUTED, Mode.GWBRIDGE])
def test_an_internal_network_has_no_way_out_of_any_kind(mode: Mode) -> None:
    with pytest.raises(InvalidOptionError, match="contradict each other"):
        planned(new_network(RED, V4, mode=mode, internal=True))


@pytest.mark.parametrize("mode", [Mode.ROUTED, Mode.FLAT, Mode.ISOLATED, Mode.GWBRIDGE])
def test_masquerading_where_nothing_is_rewritten_is_refused(mode: Mode) -> None:
    assert planned(new_network(RED, V4, mode=mode, masquerade=False)).mode is mode
    with pytest.raises(InvalidOptionError, match=f"masquerade=true: .*ovs.mode={mode}"):
        planned(new_network(RED, V4, mode=mode, masquerade=True))


@pytest.mark.parametrize(
    ("mode", "isolate"),
    [
        pytest.param(Mode.ROUTED, True, id="routed"),
        pytest.param(Mode.ROUTED, False, id="routed-open"),
        pytest.param(Mode.NAT, True, id="nat-is-so-anyway"),
        pytest.param(Mode.ISOLATED, True, id="isolated-is-so-anyway"),
    ],
)
def test_isolation_is_taken_where_it_can_be_had(mode: Mode, *, isolate: bool) -> None:
    assert planned(new_network(RED, V4, mode=mode, isolate=isolate)).isolate is isolate


@pytest.mark.parametrize(
    ("mode", "isolate"),
    [
        pytest.param(Mode.NAT, False, id="nat-cannot-be-opened"),
        pytest.param(Mode.FLAT, True, id="flat-is-not-this-host-s"),
        pytest.param(Mode.GWBRIDGE, True, id="gwbridge-is-docker-s"),
    ],
)
def test_isolation_is_refused_where_it_cannot_be_had(mode: Mode, *, isolate: bool) -> None:
    with pytest.raises(InvalidOptionError, match=f"between routed networks.*ovs.mode={mode}"):
        planned(new_network(RED, V4, mode=mode, isolate=isolate))


@pytest.mark.parametrize("access", HostAccess)
@pytest.mark.parametrize("mode", Mode)
def test_what_is_open_of_the_host_is_said_where_the_host_has_a_gateway(
    mode: Mode, access: HostAccess
) -> None:
    assert planned(new_network(RED, V4, mode=mode)).host is HostAccess.ALL
    wanted = new_network(RED, V4, mode=mode, host=access)
    if mode.has_gateway or (mode, access) == (Mode.ISOLATED, HostAccess.NONE):
        assert planned(wanted).host is access
        return
    with pytest.raises(InvalidOptionError, match=f"ovs.host={access}: .*ovs.mode={mode}"):
        planned(wanted)


@pytest.mark.parametrize(
    ("cidr", "gateway", "held"),
    [
        pytest.param("10.1.0.0/24", "10.1.0.1", "10.1.0.0 10.1.0.1 10.1.0.255", id="ipv4"),
        pytest.param("10.1.0.0/24", "10.1.0.255", "10.1.0.0 10.1.0.255", id="the-highest"),
        pytest.param("10.1.0.0/31", "10.1.0.1", "10.1.0.1", id="two-addresses"),
        pytest.param("fd00:1::/64", "fd00:1::9", "fd00:1:: fd00:1::9", id="ipv6"),
        pytest.param("fd00:1::/127", "fd00:1::1", "fd00:1::1", id="two-of-ipv6"),
        pytest.param("10.1.0.0/24", None, "", id="no-gateway"),
    ],
)
def test_the_addresses_that_the_host_answers_to_are_known(
    cidr: str, gateway: str | None, held: str
) -> None:
    network = a_network(subnets=(a_subnet(cidr, gateway=gateway),))
    (rules,) = desired.firewall([network]).gateways
    assert " ".join(map(str, rules.held)) == held


def test_a_network_may_say_that_its_containers_are_apart() -> None:
    assert not planned(new_network(RED, V4, icc=False)).icc


CONTROLLERS = ("tcp:192.0.2.9:6653",)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"guard": True}, id="guard"),
        pytest.param({"rate": Rate(towards=None, away=1_000_000)}, id="rate"),
        pytest.param({"broadcast": 100}, id="broadcast"),
    ],
)
def test_flows_of_ours_and_a_controller_are_not_for_one_bridge(options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match="br-ovsnet has a controller"):
        planned(new_network(RED, V4, controllers=CONTROLLERS, **options))
    other = a_network(BLUE, segment=a_segment(tag=2), subnets=(), **options)
    with pytest.raises(ConflictError, match=f"network {BLUE[:12]} on bridge br-ovsnet has ovs"):
        planned(new_network(RED, V4, controllers=CONTROLLERS), networks=(other,))
    assert planned(new_network(RED, V4), networks=(other,)).features == Features()


@pytest.mark.parametrize("owner", [RED, BLUE])
@pytest.mark.parametrize("option", [{"guard": True}, {"broadcast": 100}], ids=["guard", "rate"])
def test_a_single_container_with_flows_of_ours_stands_against_a_controller(
    owner: str, option: dict[str, Any]
) -> None:
    other = a_network(BLUE, segment=a_segment(tag=2), subnets=())
    new = new_network(RED, V4, controllers=CONTROLLERS)
    held = an_endpoint(network=owner, **option)
    with pytest.raises(ConflictError, match=f"endpoint {held.id[:12]} on bridge br-ovsnet has ovs"):
        planned(new, networks=(other,), endpoints=(held,))
    for each in (
        replace(held, network=NetworkId("9" * 64)),
        altered(held, guard=None, broadcast=None),
    ):
        assert planned(new, networks=(other,), endpoints=(each,)).features.controllers


def test_a_rate_towards_containers_is_no_flow() -> None:
    rate = Rate(towards=1_000_000, away=None)
    assert planned(new_network(RED, V4, controllers=CONTROLLERS, rate=rate)).port.rate == rate


def test_a_network_with_access_rules_is_guarded():
    judged = planned(new_network(RED, V4, allow=access_words.parse("example.com")))
    assert judged.port.guard
    assert not planned(new_network(RED, V4)).port.guard


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"guard": False}, "ovs.guard=false and ovs.deny contradict each other"),
        ({"mode": Mode.GWBRIDGE}, "leave by docker_gwbridge; use -o ovs.mode=nat"),
        ({"mode": Mode.FLAT}, '"to host" is judged at a gateway'),
        ({"vlan_mode": VlanMode.DOT1Q_TUNNEL}, "frames with tags are not judged"),
        ({"features": Features(rstp=True), "mode": Mode.ISOLATED}, "no guard stops that"),
        ({"features": Features(protocols=("OpenFlow13",))}, "add +OpenFlow14, or leave them out"),
    ],
)
def test_access_rules_that_would_not_hold_are_refused(options, words):
    with pytest.raises((InvalidOptionError, UnsupportedError)) as caught:
        planned(new_network(RED, V4, deny=access_words.parse("host"), **options))
    assert words in str(caught.value)
