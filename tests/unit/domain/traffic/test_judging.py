"""What policies come to on a bridge, asked about connections one by one; and who is judged."""

from hypothesis import given
from hypothesis import strategies as st
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.access.policy import Judgement, Member, Policy, Reach, Zone
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.options.access import AccessProtocol, Side
from ovsdriver.domain.records.options.flows import PortFlows, Ruling, Stage, Vlan
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.domain.traffic import judging

KEY = "abcdef012345"
MAC, GATEWAY = EUI("0a:0f:0a:00:00:02"), EUI("0a:0f:0a:00:00:01")
NUMBERS = {4: {"tcp": 6, "udp": 17, "icmp": 1}, 6: {"tcp": 6, "udp": 17, "icmp": 58}}
PEERS = ["10.0.0.1", "10.0.0.2", "10.1.0.1", "fd00::1", "fd01::1"]
PREFIXES = [None, "10.0.0.0/24", "10.0.0.2/32", "0.0.0.0/0", "fd00::/64", "::/0"]

ports = st.integers(0, 65535)
reaches = st.builds(
    lambda prefix, protocol, ends: Reach(
        rule="",
        prefix=prefix and IPNetwork(prefix),
        protocol=protocol,
        first_port=min(ends) if protocol in ("tcp", "udp") else 0,
        last_port=max(ends) if protocol in ("tcp", "udp") else 65535,
    ),
    st.sampled_from(PREFIXES),
    st.sampled_from([None, *AccessProtocol]),
    st.tuples(ports, ports),
)
judgements = st.builds(
    Judgement,
    deny=st.lists(reaches, max_size=3).map(tuple),
    allow=st.lists(reaches, max_size=3).map(tuple),
    closed=st.booleans(),
)


def about(reach: Reach, peer: IPAddress, protocol: str, port: int) -> bool:
    """Whether a rule is about a connection, by what it says."""
    return (
        (reach.prefix is None or peer in reach.prefix)
        and reach.protocol in (None, protocol)
        and (protocol == "icmp" or reach.first_port <= port <= reach.last_port)
    )


def matches(ruling: Ruling, peer: IPAddress, protocol: int, port: int) -> bool:
    """Whether a ruling is, by its bits."""
    return (
        ruling.family in (None, peer.version)
        and (ruling.peer is None or peer in ruling.peer)
        and ruling.protocol in (None, protocol)
        and port & ruling.port_mask == ruling.port
    )


@given(judgements, st.sampled_from(PEERS), st.sampled_from(["tcp", "udp", "icmp"]), ports)
def test_a_denial_goes_before_a_permission_and_the_rest_as_the_side_says(
    judgement: Judgement, address: str, protocol: str, port: int
) -> None:
    peer = IPAddress(address)
    denied = any(about(each, peer, protocol, port) for each in judgement.deny)
    allowed = any(about(each, peer, protocol, port) for each in judgement.allow)
    right = not denied and (allowed or not judgement.closed)

    rulings = judging.policy(Policy(key=KEY, from_=judgement)).rulings
    number = NUMBERS[peer.version][protocol]
    fit = [each for each in rulings if each.side is Side.FROM and matches(each, peer, number, port)]
    highest = max(each.rank for each in fit)
    assert {each.passes for each in fit if each.rank == highest} == {right}


@given(st.tuples(ports, ports), ports)
def test_a_range_of_ports_matches_them_and_no_others(ends: tuple[int, int], port: int) -> None:
    first, last = min(ends), max(ends)
    reach = Reach(rule="", protocol=AccessProtocol.UDP, first_port=first, last_port=last)
    policy = Policy(key=KEY, to=Judgement(deny=(reach,)))
    denying = [each for each in judging.policy(policy).rulings if not each.passes]
    assert len(denying) <= 30
    matched = [each for each in denying if port & each.port_mask == each.port]
    assert len(matched) == (first <= port <= last)


def test_what_is_about_the_host_the_outside_or_names_is_about_nobody_on_a_bridge() -> None:
    about_others = (
        Reach(rule="host", zone=Zone.HOST),
        Reach(rule="outside", zone=Zone.OUTSIDE),
        Reach(rule="api.example.com", names=("api.example.com",)),
    )
    policy = Policy(key=KEY, to=Judgement(deny=about_others, allow=about_others, closed=True))
    rest = [each for each in judging.policy(policy).rulings if each.side is Side.TO]
    assert [each.passes for each in rest] == [False]
    assert rest[0].peer is None


def a_member(*addresses: str) -> Member:
    return Member(
        endpoint=EndpointId("e" * 64),
        network=NetworkId("a" * 64),
        policy=KEY,
        mac=MAC,
        addresses=tuple(map(IPAddress, addresses)),
    )


def ends(flows: PortFlows) -> set[str]:
    (end,) = flows.governed
    return {str(each) for each in end.addresses}


def test_a_container_is_judged_at_the_addresses_that_its_guard_knows() -> None:
    both = judging.member(a_member("10.0.0.2", "fd00::2"), zone=0x8001, gateway=None)
    assert ends(both) == {"10.0.0.2", "fd00::2", str(MAC.ipv6_link_local())}
    four = judging.member(a_member("10.0.0.2"), zone=0x8001, gateway=None)
    assert ends(four) == {"10.0.0.2"}


def test_what_a_container_sends_to_its_gateway_is_judged_behind_that() -> None:
    without = judging.member(a_member("10.0.0.2"), zone=0x8001, gateway=None)
    having = judging.member(a_member("10.0.0.2"), zone=0x8001, gateway=GATEWAY)
    (past,) = having.flows - without.flows
    assert (past.match.eth_dst, past.passes, past.zone) == (GATEWAY, True, 0)
    assert past.rank > max(each.rank for each in without.flows)
    assert {each.stage for each in having.flows} == {Stage.ACCESS}


def test_of_a_container_that_is_the_gateway_only_what_it_says_itself_is_judged() -> None:
    flows = judging.member(a_member("10.0.0.2"), zone=0x8001, gateway=None, forwards=True)
    (end,) = flows.governed
    assert end.forwards
    governed = [each.match for each in flows.flows if each.governed]
    assert [each.ipv4_src for each in governed] == [IPAddress("10.0.0.2")]
    others = [each for each in flows.flows if not each.governed]
    assert {(each.match.eth_type, each.zone) for each in others} == {
        (0x0800, 0x8001),
        (0x86DD, 0x8001),
    }


def test_zones_are_above_those_that_others_count_up_and_differ_by_bridge_and_vlan() -> None:
    zones = [judging.zone(bridge, VlanTag(vlan)) for bridge in ("br0", "br1") for vlan in range(9)]
    assert len(set(zones)) == len(zones)
    assert all(0x8000 <= each <= 0xFFFF for each in zones)


def test_frames_with_a_tag_are_in_the_zone_of_their_vlan() -> None:
    flows = judging.everywhere({VlanTag(30): 0x8030, VlanTag(0): 0x8000}, {}).flows
    assert {(each.match.vlan, each.zone) for each in flows} == {
        (Vlan.of(30), 0x8030),
        (Vlan.UNTAGGED, 0x8000),
    }


def test_nobody_else_sends_as_a_gateway_or_would_get_what_is_not_judged() -> None:
    without = judging.here(7, 0x8030, frozenset()).flows
    (claimed,) = judging.here(7, 0x8030, frozenset({GATEWAY})).flows - without
    assert (claimed.port, claimed.match.eth_src, claimed.passes) == (7, GATEWAY, False)
    assert claimed.rank > max(each.rank for each in without)
    zones = {VlanTag(30): 0x8030, VlanTag(0): 0x8000}
    known = {vlan: {GATEWAY} for vlan in zones}
    (tagged,) = judging.everywhere(zones, known).flows - judging.everywhere(zones, {}).flows
    assert (tagged.match.vlan, tagged.match.eth_src) == (Vlan.of(30), GATEWAY)
    assert not tagged.passes


@given(st.integers(0, 2**48 - 1), st.integers(1, 65534))
def test_numbers_of_policies_and_ports_never_meet(key: int, port: int) -> None:
    policy, place = judging.policy_number(f"{key:012x}"), judging.port_number(port)
    assert port < judging.SHARED < place < policy < 1 << 32
